//! A relay between a proxy and a master that reads the statements of the proxy's own account, and kills
//! the proxy at exactly one of them.
//!
//! What a switchover does is a sequence of packets, and a packet may hold several statements. The relay
//! lets the first so many of them through to the server, waits until the server has carried those out
//! (a ping behind them is answered), keeps the answers to itself and kills the process. So every state
//! that a coordinator can leave behind is made once, and none by luck.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Which statements are not a switchover's: probes, heartbeats, signs of life, logins, accounts.
const BACKGROUND: [&str; 8] = [
    "@@GLOBAL.read_only AS read_only",
    "tandem.heartbeat",
    "DO 0",
    "SET SESSION autocommit=1",
    "SHOW GRANTS",
    "mysql.user",
    "SELECT 1",
    "mysql.global_priv",
];

const COM_QUERY: u8 = 3;
const COM_PING: u8 = 14;

/// Where the proxy dies: at which packet of its switchover, after how many of that packet's statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) packet: usize,
    pub(crate) statements: usize,
}

/// When the proxy dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Death {
    /// At this place, whatever is said there.
    At(Place),
    /// After the first statement that has one of these words, which are separated by `|`.
    After(&'static str),
}

impl Death {
    /// How many statements of a packet are carried out before it, if it happens in this one. `first` is
    /// the number of a packet that is the first of its kind.
    fn in_packet(self, statements: &[String], first: Option<usize>) -> Option<usize> {
        match self {
            Self::At(place) => (first == Some(place.packet)
                && place.statements <= statements.len())
            .then_some(place.statements),
            Self::After(words) => {
                let said = |text: &String| words.split('|').any(|words| text.contains(words));
                statements.iter().position(said).map(|before| before + 1)
            }
        }
    }
}

/// What all connections of the relays share.
#[derive(Debug, Default)]
struct State {
    user: String,
    /// Whom to kill, and when; `None` while nothing is counted.
    armed: Option<(u32, Death)>,
    /// Kinds of packets of the switchover that came so far, in order. How often it looks how far the
    /// standby is differs from one to the next, so that only the first of a kind counts.
    packets: Vec<String>,
    /// Whether the old master was told to refuse writes.
    frozen: bool,
    /// The last packet that went through.
    before: Option<String>,
    /// The last statement that was carried out, once it has happened.
    died_after: Option<String>,
    /// Whether the masters are left with open connections, as by a machine that lost its power.
    without_a_word: bool,
    dead: bool,
}

/// The relays before all masters. Dropping it ends them.
pub(crate) struct Wiretap {
    state: Arc<Mutex<State>>,
    died: watch::Sender<bool>,
    addresses: Vec<SocketAddr>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Wiretap {
    /// Relays to these servers, listening for statements of `user`.
    pub(crate) async fn start(user: &str, servers: &[SocketAddr]) -> Self {
        let state = State { user: user.to_owned(), ..State::default() };
        let state = Arc::new(Mutex::new(state));
        let died = watch::Sender::new(false);
        let (mut addresses, mut tasks) = (Vec::new(), Vec::new());
        for server in servers.iter().copied() {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            addresses.push(listener.local_addr().expect("its address"));
            let (state, died) = (state.clone(), died.clone());
            tasks.push(tokio::spawn(async move {
                while let Ok((client, _)) = listener.accept().await {
                    tokio::spawn(relay(client, server, state.clone(), died.clone()));
                }
            }));
        }
        Self { state, died, addresses, tasks }
    }

    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// From now on packets are counted, and this process is killed then.
    pub(crate) fn arm(&self, pid: u32, death: Death, without_a_word: bool) {
        let mut state = self.state.lock().expect("no panic");
        state.armed = Some((pid, death));
        state.packets.clear();
        (state.frozen, state.before) = (false, None);
        state.died_after = None;
        state.dead = false;
        state.without_a_word = without_a_word;
        self.died.send_replace(false);
    }

    /// Nothing is counted any more. After what the process died, if it did.
    pub(crate) fn disarm(&self) -> Option<String> {
        let mut state = self.state.lock().expect("no panic");
        state.armed = None;
        state.died_after.take()
    }

    /// Waits until the process has been killed.
    pub(crate) async fn died(&self) {
        self.died.subscribe().wait_for(|died| *died).await.expect("it is ours");
    }

    /// Ends the connections that a death without a word left behind.
    pub(crate) fn forget(&self) {
        self.died.send_replace(false);
    }
}

impl Drop for Wiretap {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

/// What is to become of a packet.
enum Fate {
    Through,
    /// The process is killed when the server has carried out these statements of it.
    Last(u32, Vec<String>),
}

impl State {
    fn judge(&mut self, packet: &[u8]) -> Fate {
        let Some((pid, death)) = self.armed else { return Fate::Through };
        let Some((&COM_QUERY, text)) = packet.split_first() else { return Fate::Through };
        let text = String::from_utf8_lossy(text).into_owned();
        if BACKGROUND.iter().any(|words| text.contains(words)) || self.died_after.is_some() {
            return Fate::Through;
        }
        let kind = format!("{} {}", self.frozen, kind_of(&text));
        self.frozen |= text.contains("read_only=1");
        let statements: Vec<String> = text.split("; ").map(str::to_owned).collect();
        let counts = !self.packets.contains(&kind);
        let first = counts.then_some(self.packets.len());
        if counts {
            self.packets.push(kind);
        }
        let Some(carried_out) = death.in_packet(&statements, first) else {
            self.before = Some(text);
            return Fate::Through;
        };
        self.dead = true;
        let through = statements[..carried_out].to_vec();
        let after = through.last().or(self.before.as_ref()).cloned();
        self.died_after = Some(after.unwrap_or_else(|| "nothing".to_owned()));
        Fate::Last(pid, through)
    }
}

/// A statement without what differs from one of its kind to the next: numbers and literals.
fn kind_of(text: &str) -> String {
    let outside = text.split('\'').step_by(2);
    outside.flat_map(str::chars).filter(|letter| !letter.is_ascii_digit()).collect()
}

async fn relay(
    mut client: TcpStream,
    server: SocketAddr,
    state: Arc<Mutex<State>>,
    died: watch::Sender<bool>,
) {
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    for stream in [&client, &server] {
        stream.set_nodelay(true).expect("TCP");
    }
    // What is sent before the statements begin: the login. Of others all is passed on unread.
    let mut ours = None;
    let (mut said, mut heard) = (Vec::new(), Vec::new());
    loop {
        tokio::select! {
            read = client.read_buf(&mut said) => if !matches!(read, Ok(1..)) { break },
            read = server.read_buf(&mut heard) => {
                if !matches!(read, Ok(1..)) || client.write_all(&heard).await.is_err() {
                    break;
                }
                heard.clear();
            }
        }
        while let Some(packet) = next_packet(&mut said) {
            let ours = *ours.get_or_insert_with(|| is_login_of(&packet, &state));
            let fate = if ours { judge(&state, &packet[4..]) } else { Fate::Through };
            match fate {
                Fate::Through => {
                    if server.write_all(&packet).await.is_err() {
                        return;
                    }
                }
                Fate::Last(pid, statements) => {
                    carry_out(&mut server, &statements).await;
                    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("an id");
                    kill_process(pid, Signal::KILL).expect("it runs");
                    died.send_replace(true);
                }
            }
        }
    }
    // The process has gone, or just this connection. A machine without power says nothing of it.
    let silent = {
        let state = state.lock().expect("no panic");
        state.without_a_word && state.dead
    };
    if silent {
        let mut died = died.subscribe();
        let _ = died.wait_for(|died| *died).await;
        let _ = died.wait_for(|died| !died).await;
    }
}

fn judge(state: &Mutex<State>, packet: &[u8]) -> Fate {
    state.lock().expect("no panic").judge(packet)
}

/// Has the server carry these statements out, and keeps what it says of them.
async fn carry_out(server: &mut TcpStream, statements: &[String]) {
    if statements.is_empty() {
        return;
    }
    let text = statements.join("; ");
    let mut both = packet(COM_QUERY, text.as_bytes());
    both.extend(packet(COM_PING, &[]));
    server.write_all(&both).await.expect("sent");
    let (mut heard, mut commands) = (Vec::new(), 0);
    // The answer to a command begins with number 1.
    while commands < 2 {
        server.read_buf(&mut heard).await.expect("it answers");
        while let Some(packet) = next_packet(&mut heard) {
            commands += usize::from(packet[3] == 1);
        }
    }
}

fn packet(command: u8, text: &[u8]) -> Vec<u8> {
    let length = u32::try_from(text.len() + 1).expect("short").to_le_bytes();
    let head = [length[0], length[1], length[2], 0, command];
    [&head, text].concat()
}

/// Takes a whole packet, with its header, from the front.
fn next_packet(bytes: &mut Vec<u8>) -> Option<Vec<u8>> {
    let header = bytes.first_chunk::<4>()?;
    let length = u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize + 4;
    (bytes.len() >= length).then(|| bytes.drain(..length).collect())
}

/// The name stands behind 32 bytes of capabilities and the like (`HandshakeResponse41`).
fn is_login_of(packet: &[u8], state: &Mutex<State>) -> bool {
    let name = packet.get(36..).and_then(|rest| rest.split(|byte| *byte == 0).next());
    name == Some(state.lock().expect("no panic").user.as_bytes())
}
