//! A network in which every node is alone, and whose links can be cut one by one.
//!
//! Each node is a network namespace with one interface, which leads to a router in a namespace of
//! its own. What the router is told to drop (`ip rule … blackhole`) is gone without a word: nobody is
//! refused, no interface goes down, no neighbour stops answering. That is what a cable that was pulled
//! somewhere in between looks like, and it can be done to one direction alone.
//!
//! The namespaces have no names that could outlive anybody. A process (`cat`) lives in each, at the end
//! of a pipe of ours; it ends with us, however we end, and the kernel removes a namespace, and the
//! interfaces in it, with the last process that is inside.

use std::io::{Read as _, Write as _};
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};

/// Drops nothing at first.
pub(crate) struct Network {
    router: Namespace,
    nodes: Vec<Namespace>,
}

/// A node, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Node(pub(crate) u8);

/// From one node to another: what is sent that way.
pub(crate) type Way = (Node, Node);

impl Node {
    pub(crate) fn address(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, self.0, 2)
    }
}

impl Network {
    /// Why there can be none: no root, no `ip`, or no permission. Only that is a reason not to test.
    pub(crate) fn impossible() -> Option<String> {
        let fails = |words: &[&str]| match Command::new(words[0]).args(&words[1..]).output() {
            Ok(done) if done.status.success() => None,
            Ok(done) => Some(String::from_utf8_lossy(&done.stderr).trim().to_owned()),
            Err(error) => Some(format!("{}: {error}", words[0])),
        };
        fails(&["ip", "-V"]).or_else(|| fails(&["unshare", "--net", "true"]))
    }

    /// A network of so many nodes.
    pub(crate) fn new(nodes: u8) -> Self {
        let router = Namespace::new();
        let nodes: Vec<Namespace> = (0..nodes).map(|_| Namespace::new()).collect();
        let mut lines = String::new();
        for (number, node) in nodes.iter().enumerate() {
            let pid = node.holder.id();
            lines += &format!(
                "link add n{number} type veth peer name eth0 netns {pid}\n\
                 addr add 10.77.{number}.1/24 dev n{number}\nlink set n{number} up\n"
            );
        }
        router.ip(&lines);
        router.run("sh", &["-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"], "");
        for (number, node) in nodes.iter().enumerate() {
            node.ip(&format!(
                "link set lo up\naddr add 10.77.{number}.2/24 dev eth0\nlink set eth0 up\n\
                 route add default via 10.77.{number}.1\n"
            ));
        }
        Self { router, nodes }
    }

    /// A command that runs what follows it in a node. It ends with the thread that started it, should
    /// that be killed (prctl(2), `PR_SET_PDEATHSIG`).
    pub(crate) fn enter(&self, node: Node) -> Vec<String> {
        let net = self.nodes[usize::from(node.0)].entrance();
        ["nsenter", &net, "setpriv", "--pdeathsig", "KILL"].map(str::to_owned).into()
    }

    /// From now on nothing gets along these ways.
    pub(crate) fn cut(&self, ways: &[Way]) {
        self.rules("add", ways);
    }

    /// Undoes `cut`.
    pub(crate) fn heal(&self, ways: &[Way]) {
        self.rules("del", ways);
    }

    fn rules(&self, verb: &str, ways: &[Way]) {
        let rule = |(from, to): &Way| {
            format!("rule {verb} from {} to {} blackhole\n", from.address(), to.address())
        };
        self.router.ip(&ways.iter().map(rule).collect::<String>());
    }
}

/// Both ways between two nodes.
pub(crate) fn both(a: Node, b: Node) -> [Way; 2] {
    [(a, b), (b, a)]
}

struct Namespace {
    holder: Child,
}

impl Namespace {
    fn new() -> Self {
        let mut holder = Command::new("unshare")
            .args(["--net", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare");
        // Once it says something back it is inside.
        holder.stdin.as_mut().expect("a pipe").write_all(b"?").expect("asked");
        holder.stdout.as_mut().expect("a pipe").read_exact(&mut [0]).expect("a namespace");
        Self { holder }
    }

    fn entrance(&self) -> String {
        format!("--net=/proc/{}/ns/net", self.holder.id())
    }

    /// Has `ip` carry these lines out.
    fn ip(&self, lines: &str) {
        self.run("ip", &["-batch", "-"], lines);
    }

    fn run(&self, command: &str, arguments: &[&str], input: &str) {
        let mut running = Command::new("nsenter")
            .args([&self.entrance(), command])
            .args(arguments)
            .stdin(Stdio::piped())
            .spawn()
            .expect("nsenter");
        let mut stdin = running.stdin.take().expect("a pipe");
        stdin.write_all(input.as_bytes()).expect("told");
        drop(stdin);
        assert!(running.wait().expect("it ran").success(), "{command} {arguments:?}: {input}");
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        // It fails only if somebody else reaped it.
        let _ = self.holder.wait();
    }
}
