//! What a client says during its login, to the session that `serve` runs for it.
//!
//! Input: flags, then either the bytes of the client's side as they are, or a script (see [`act`]) that
//! knows the salts and the passwords, and so gets behind the checks of tokens. No master is active, so
//! what must hold is: the proxy speaks whole packets of a login only, never says OK, and ends the session
//! in bounded time. The clock is tokio's own: it jumps to the next deadline when nothing else happens.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tandem::session::serve;
use tandem::topology::{Account, AccountPlugin, Accounts};
use tandem::wire::{
    AuthSwitch, Capabilities, ErrorPacket, Greeting, HandshakeResponse, PacketStream, SALT_LEN,
    Salt, Stream, encrypt_with_pem, native_token_of_password, sha2_token,
};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::fake_server::Stage;
use super::input::Input;

const TCP: u8 = 1;
const SCRIPT: u8 = 2;

const PASSWORD: &[u8] = b"secret";
/// `SHA1(SHA1("secret"))`.
const HASH: [u8; 20] = [
    0x14, 0xe6, 0x55, 0x67, 0xab, 0xdb, 0x51, 0x35, 0xd0, 0xcf, 0xd9, 0xa7, 0x0b, 0x30, 0x32, 0xc1,
    0x79, 0xa4, 0x9e, 0xe7,
];

/// Long beyond everything that a session may take; nobody waits for it in earnest.
const FOR_EVER: Duration = Duration::from_secs(3600);

thread_local! {
    static WORLD: RefCell<Option<Rc<World>>> = const { RefCell::new(None) };
}

/// What all runs share.
struct World {
    runtime: Runtime,
    stage: Stage,
    door: TcpListener,
}

impl World {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let (stage, door) = runtime.block_on(async {
            let hold = Duration::from_millis(10);
            let stage = Stage::set_up(hold, Duration::from_secs(10), accounts()).await;
            stage.hold("nobody is there");
            (stage, TcpListener::bind("127.0.0.1:0").await.expect("a port"))
        });
        Self { runtime, stage, door }
    }

    /// Both ends of a client's connection.
    async fn connect(&self, flags: u8) -> (Stream, Stream) {
        if flags & TCP == 0 {
            let (near, far) = UnixStream::pair().expect("a pair");
            return (Stream::Unix(near), Stream::Unix(far));
        }
        let address = self.door.local_addr().expect("bound");
        let (near, far) = tokio::join!(TcpStream::connect(address), self.door.accept());
        let near = near.expect("connected");
        // Thousands of these a second must not leave their ports behind.
        near.set_zero_linger().expect("set");
        (Stream::Tcp(near), Stream::Tcp(far.expect("accepted").0))
    }
}

fn accounts() -> Accounts {
    let account = |plugin| Account { host: "%".into(), plugin };
    Accounts::new([
        ("nat".to_owned(), account(AccountPlugin::Native(Some(HASH)))),
        ("sha".to_owned(), account(AccountPlugin::CachingSha2)),
        ("two".to_owned(), account(AccountPlugin::Native(Some(HASH)))),
        ("two".to_owned(), account(AccountPlugin::CachingSha2)),
        ("other".to_owned(), account(AccountPlugin::Other("ed25519".into()))),
    ])
}

pub fn run(data: &[u8]) {
    let world = WORLD
        .with_borrow_mut(|world| Rc::clone(world.get_or_insert_with(|| Rc::new(World::new()))));
    let mut input = Input(data);
    let flags = input.byte();
    world.runtime.block_on(async {
        let (near, far) = world.connect(flags).await;
        let (shared, book) = (Arc::clone(&world.stage.shared), world.stage.shared.open_book());
        let session = tokio::spawn(serve(far, None, shared, book));
        let mut client =
            Client { packets: PacketStream::new(near), salt: [0; SALT_LEN], key: None };
        if client.hear().await {
            if flags & SCRIPT != 0 {
                while !input.is_empty() && client.act(&mut input).await {}
            } else {
                let _ = client.packets.write_raw(input.0).await;
            }
        }
        let _ = client.hang_up().await;
        let ended = timeout(FOR_EVER, session).await.expect("the session never ends");
        ended.expect("the session panicked");
        assert!(world.stage.shared.registry.is_empty());
    });
}

struct Client {
    packets: PacketStream<Stream>,
    /// The last salt that the proxy named.
    salt: Salt,
    /// The proxy's public key, once it was sent.
    key: Option<Vec<u8>>,
}

impl Client {
    /// Hears what the proxy has to say now. False when it has closed.
    async fn hear(&mut self) -> bool {
        while let Ok(heard) = timeout(Duration::from_millis(1), self.packets.read()).await {
            let Ok(payload) = heard else { return false };
            self.check(&payload);
        }
        true
    }

    /// Says no more, and hears the rest.
    async fn hang_up(mut self) -> Result<(), std::io::Error> {
        // What is still in the way goes first, so that the proxy is not cut off inside it.
        let (mut stream, ahead) = self.packets.into_parts();
        stream.shutdown().await?;
        self.packets = PacketStream::resume(stream, ahead);
        while let Ok(Ok(payload)) = timeout(FOR_EVER, self.packets.read()).await {
            Self::check_without_learning(&payload);
        }
        Ok(())
    }

    fn check(&mut self, payload: &[u8]) {
        Self::check_without_learning(payload);
        match payload {
            [0x0A, ..] => self.salt = Greeting::parse(payload).expect("a greeting").salt,
            [0xFE, ..] => self.salt = AuthSwitch::parse(payload).expect("a switch").salt,
            [0x01, pem @ ..] if pem.starts_with(b"-----BEGIN") => self.key = Some(pem.to_vec()),
            _ => {}
        }
    }

    /// Only what a login without a master may contain.
    fn check_without_learning(payload: &[u8]) {
        match payload.first() {
            Some(0x0A) => assert!(Greeting::parse(payload).is_ok()),
            Some(0xFE) => assert!(AuthSwitch::parse(payload).is_ok()),
            Some(0xFF) => assert!(ErrorPacket::parse(payload).is_ok()),
            Some(0x01) => {}
            _ => panic!("no packet of a login: {payload:?}"),
        }
    }

    /// One step of the script: a byte that says which, and what it takes behind. False when the proxy
    /// has closed.
    async fn act(&mut self, input: &mut Input<'_>) -> bool {
        let payload = match input.byte() % 9 {
            0 => input.text().to_vec(),
            1 => self.response(input),
            2 => native_token_of_password(PASSWORD, &self.salt).to_vec(),
            3 => sha2_token(PASSWORD, &self.salt).to_vec(),
            4 => vec![2], // "your public key, please"
            5 => {
                let pem = self.key.clone().unwrap_or_default();
                encrypt_with_pem(&pem, input.text(), &self.salt).unwrap_or_default()
            }
            6 => [PASSWORD, b"\0"].concat(),
            7 => Vec::new(),
            _ => {
                let said = self.packets.write_raw(input.text()).await;
                return said.is_ok() && self.hear().await;
            }
        };
        let said = self.packets.write(&payload).await;
        said.is_ok() && self.hear().await
    }

    fn response(&self, input: &mut Input<'_>) -> Vec<u8> {
        let user: &[u8] =
            [&b"nat"[..], b"sha", b"two", b"other", b"nobody"][usize::from(input.byte() % 5)];
        let plugin = match input.byte() % 5 {
            0 => None,
            1 => Some("mysql_native_password"),
            2 => Some("caching_sha2_password"),
            3 => Some("mysql_clear_password"),
            _ => Some("client_ed25519"),
        };
        let token = match input.byte() % 4 {
            0 => Vec::new(),
            1 => native_token_of_password(PASSWORD, &self.salt).to_vec(),
            2 => sha2_token(PASSWORD, &self.salt).to_vec(),
            _ => input.text().to_vec(),
        };
        let more = u64::from(input.byte()) << 16 | u64::from(input.byte()) << 32;
        let response = HandshakeResponse {
            capabilities: Capabilities(more)
                | Capabilities::PROTOCOL_41
                | Capabilities::SECURE_CONNECTION
                | Capabilities::PLUGIN_AUTH
                | Capabilities::PLUGIN_AUTH_LENENC,
            max_packet: 1 << 24,
            collation: input.byte(),
            user: user.to_vec(),
            token,
            schema: None,
            plugin: plugin.map(str::to_owned),
            attributes: input.text().to_vec(),
            zstd_level: Some(3),
        };
        let mut payload = response.to_payload();
        // Sometimes cut off.
        let cut = usize::from(input.byte());
        if cut >= 0xF0 {
            payload.truncate(payload.len() - (cut - 0xF0));
        }
        payload
    }
}
