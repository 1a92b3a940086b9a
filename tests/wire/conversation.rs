//! A client that says what it is told and keeps every byte of what it hears.

use tandem::topology::Flavor;
use tandem::wire::{
    Capabilities, Command, Greeting, HandshakeResponse, ResponseTracker, Step as Seen, put_packet,
};
use tokio::net::TcpStream;

use crate::fake_server::RawClient;

/// One thing that a client does.
#[derive(Clone, Debug)]
pub enum Step {
    /// COM_QUERY.
    Query(String),
    /// COM_QUERY, and a file in these pieces when the server asks for it.
    Load(String, Vec<Vec<u8>>),
    /// Any command.
    Command(Vec<u8>),
    /// The same, but the answer has numbers in it that change: only its form is compared.
    Changing(Vec<u8>),
    /// COM_STMT_PREPARE; the steps that follow name this statement.
    Prepare(String),
    /// COM_STMT_EXECUTE.
    Execute(Execution),
    /// A command that names the statement, and what follows its id.
    Statement(u8, Vec<u8>),
    /// These, in one segment, before the first answer.
    Pipelined(Vec<Self>),
}

/// COM_STMT_EXECUTE.
#[derive(Clone, Debug, Default)]
pub struct Execution {
    /// 1 for a cursor.
    pub flags: u8,
    /// Type and value in binary form; no value for NULL.
    pub parameters: Vec<(u8, Option<Vec<u8>>)>,
    /// The types are left out: the server knows them.
    pub bound: bool,
}

impl Execution {
    /// A text as a parameter.
    pub fn text(value: &str) -> (u8, Option<Vec<u8>>) {
        let mut bytes = Vec::new();
        tandem::wire::put_lenenc_bytes(&mut bytes, value.as_bytes());
        (0xfd, Some(bytes))
    }

    /// A BIGINT as a parameter.
    pub fn number(value: i64) -> (u8, Option<Vec<u8>>) {
        (8, Some(value.to_le_bytes().to_vec()))
    }
}

/// A connection that is logged in as `wire`.
pub struct Conversation {
    pub client: RawClient,
    pub capabilities: Capabilities,
    /// The payload that ended the login.
    pub welcome: Vec<u8>,
    /// The statement that was prepared last.
    statement: u32,
    tracker: ResponseTracker,
}

/// What the server at this port says of itself.
pub async fn greeting(port: u16) -> Greeting {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("connected");
    Greeting::parse(&RawClient::new(stream).packet().await).expect("a greeting")
}

/// The family of a server.
pub fn flavor_of(greeting: &Greeting) -> Flavor {
    if greeting.version.contains("MariaDB") { Flavor::MariaDb } else { Flavor::MySql }
}

impl Conversation {
    /// Logs in, with `app` as its schema.
    pub async fn begin(port: u16, capabilities: Capabilities) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("connected");
        let mut client = RawClient::new(stream);
        let greeting = Greeting::parse(&client.packet().await).expect("a greeting");
        let response = HandshakeResponse {
            capabilities: capabilities | Capabilities::CONNECT_WITH_DB,
            max_packet: 1 << 30,
            collation: 45,
            user: b"wire".to_vec(),
            token: Vec::new(),
            schema: Some(b"app".to_vec()),
            plugin: Some(greeting.plugin),
            attributes: Vec::new(),
            zstd_level: None,
        };
        client.reply(&response.to_payload()).await;
        let mut welcome = client.packet().await;
        if welcome[0] == 0xfe {
            client.reply(&[]).await; // whatever the plugin, there is no password
            welcome = client.packet().await;
        }
        assert_eq!(welcome[0], 0, "{}", welcome.escape_ascii());
        let tracker = ResponseTracker::new(capabilities);
        Self { client, capabilities, welcome, statement: 0, tracker }
    }

    fn payload(&self, step: &Step) -> Vec<u8> {
        let attributes = self.capabilities.has(Capabilities::QUERY_ATTRIBUTES);
        match step {
            Step::Query(sql) | Step::Load(sql, _) => {
                let front: &[u8] = if attributes { &[3, 0, 1] } else { &[3] };
                [front, sql.as_bytes()].concat()
            }
            Step::Command(payload) | Step::Changing(payload) => payload.clone(),
            Step::Prepare(sql) => [b"\x16", sql.as_bytes()].concat(),
            Step::Execute(execution) => self.execution(execution, attributes),
            Step::Statement(command, rest) => {
                [&[*command][..], &self.statement.to_le_bytes(), rest].concat()
            }
            Step::Pipelined(_) => panic!("not within another"),
        }
    }

    fn execution(&self, execution: &Execution, attributes: bool) -> Vec<u8> {
        let parameters = &execution.parameters;
        let mut out = [&[0x17][..], &self.statement.to_le_bytes()].concat();
        out.push(execution.flags | if attributes { 8 } else { 0 });
        out.extend_from_slice(&[1, 0, 0, 0]);
        if attributes {
            tandem::wire::put_lenenc_int(&mut out, parameters.len() as u64);
        }
        if parameters.is_empty() {
            return out;
        }
        let mut nulls = vec![0; parameters.len().div_ceil(8)];
        for (index, (_, value)) in parameters.iter().enumerate() {
            nulls[index / 8] |= u8::from(value.is_none()) << (index % 8);
        }
        out.extend_from_slice(&nulls);
        out.push(u8::from(!execution.bound));
        if !execution.bound {
            for (kind, _) in parameters {
                out.extend_from_slice(&[*kind, 0]);
                if attributes {
                    out.push(0); // without a name
                }
            }
        }
        for value in parameters.iter().filter_map(|(_, value)| value.as_ref()) {
            out.extend_from_slice(value);
        }
        out
    }

    /// Does a step and returns the answer, byte for byte.
    pub async fn run(&mut self, step: &Step) -> Vec<u8> {
        let steps = match step {
            Step::Pipelined(steps) => &steps[..],
            one => std::slice::from_ref(one),
        };
        let payloads: Vec<_> = steps.iter().map(|step| self.payload(step)).collect();
        let mut bytes = Vec::new();
        for payload in &payloads {
            put_packet(&mut bytes, 0, payload);
        }
        self.client.raw(&bytes).await;
        let mut all = Vec::new();
        for (step, payload) in steps.iter().zip(&payloads) {
            let from = all.len();
            self.hear(step, payload, &mut all).await;
            if matches!(step, Step::Prepare(_)) && all.get(from + 4) == Some(&0) {
                let id = all[from + 5..from + 9].try_into().expect("an id");
                self.statement = u32::from_le_bytes(id);
                all[from + 5..from + 9].fill(0); // a server numbers them for all of its sessions
            }
        }
        self.forget_number(&mut all);
        if !self.client.has_heard_nothing() {
            let rest = self.client.some().await;
            let (answer, rest) = (all.escape_ascii(), rest.escape_ascii());
            panic!("more than an answer to {step:?}: {answer} and {rest}");
        }
        all
    }

    /// An error that names the statement does so by its number.
    fn forget_number(&self, answer: &mut Vec<u8>) {
        let number = format!("({})", self.statement).into_bytes();
        if answer.get(4) == Some(&0xff)
            && let Some(at) = answer.windows(number.len()).position(|part| part == number)
        {
            answer[0] -= number.len() as u8 - 2;
            answer.splice(at..at + number.len(), *b"()");
        }
    }

    async fn hear(&mut self, step: &Step, payload: &[u8], all: &mut Vec<u8>) {
        let command = Command::from_byte(payload.first().copied().unwrap_or(0));
        let cursor = matches!(step, Step::Execute(execution) if execution.flags & 7 != 0);
        self.tracker.start(command, cursor);
        let (mut at, mut waits) = (all.len(), false);
        while !self.tracker.is_done() {
            if self.tracker.wants_file() {
                let Step::Load(_, pieces) = step else { panic!("a file is wanted: {step:?}") };
                let mut bytes = Vec::new();
                let mut seq = self.tracker.next_seq();
                for piece in pieces {
                    seq = put_packet(&mut bytes, seq, piece);
                }
                put_packet(&mut bytes, seq, &[]);
                self.client.raw(&bytes).await;
                self.tracker.file_sent(seq);
            }
            if at == all.len() || waits {
                all.extend(self.client.some().await);
            }
            waits = false;
            match self.tracker.step(&all[at..]).expect("a packet of the protocol") {
                Seen::Pass(len) => at += len,
                Seen::Packet { total, .. } => at += total,
                Seen::Wait(_) => waits = true,
            }
        }
        self.client.put_back(&all[at..]);
        all.truncate(at);
    }
}
