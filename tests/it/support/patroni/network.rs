//! The network between the nodes: one with cables that can be cut, or the loopback device where that is not allowed.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tokio::net::TcpSocket;

use crate::support::optional;

/// The names of what belongs to the switch, in its own namespace.
const BRIDGE: &str = "bridge";
const UPLINK: &str = "uplink";

/// Where the nodes are.
pub enum Network {
    /// Each node has a network namespace, with a cable to a switch: an Ethernet bridge in a namespace of its own.
    Cables(Cables),
    Loopback,
}

pub struct Cables {
    ip: PathBuf,
    nsenter: PathBuf,
    unshare: PathBuf,
    switch: Namespace,
    /// The addresses are `198.18.block.x`: of the networks that are set aside for tests of networks.
    block: u8,
}

/// Where one node is.
pub struct Place {
    pub addr: Ipv4Addr,
    /// PostgreSQL's port and that of Patroni's API.
    pub ports: [u16; 2],
    /// What runs a program there.
    pub prefix: Vec<OsString>,
    _namespace: Option<Namespace>,
    // They hold the ports, and never listen.
    _held: Vec<TcpSocket>,
}

/// A network namespace, which ends with its last process: with this one, that does nothing, and with the node's.
struct Namespace(Child);

impl Namespace {
    fn new(unshare: &Path) -> Self {
        // It ends when its standard input does, so at the latest with the test.
        let mut command = Command::new(unshare);
        command.args(["--net", "sh", "-c", "echo; exec cat"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("unshare starts");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("its output")).read_line(&mut line).expect("a line");
        assert_eq!(line, "\n", "the namespace is there");
        Self(child)
    }

    fn id(&self) -> String {
        self.0.id().to_string()
    }

    fn path(&self) -> String {
        format!("--net=/proc/{}/ns/net", self.0.id())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Network {
    /// A network with cables; if that is not possible, it says so, and is the loopback device.
    pub fn new() -> Self {
        let test = "a node that is cut off";
        let Some([ip, nsenter, unshare]) = optional::programs(test, ["ip", "nsenter", "unshare"]) else {
            return Self::Loopback;
        };
        let tried = Command::new(&unshare).args(["--net", "true"]).output().expect("unshare starts");
        if !tried.status.success() {
            optional::skip(test, &format!("needs network namespaces: {}", text(&tried)));
            return Self::Loopback;
        }
        let switch = Namespace::new(&unshare);
        Self::Cables(Cables { ip, nsenter, unshare, switch, block: 0 }.plugged_into_this_machine())
    }

    pub const fn has_cables(&self) -> bool {
        matches!(self, Self::Cables(_))
    }

    /// The block of addresses that the nodes and their clients have.
    pub fn block(&self) -> String {
        match self {
            Self::Cables(cables) => format!("198.18.{}.0/24", cables.block),
            Self::Loopback => "127.0.0.0/8".to_owned(),
        }
    }

    /// The address of this machine, where etcd is.
    pub const fn here(&self) -> Ipv4Addr {
        match self {
            Self::Cables(cables) => Ipv4Addr::new(198, 18, cables.block, 1),
            Self::Loopback => Ipv4Addr::new(127, 0, 0, 10),
        }
    }

    /// The place of the node with this name and number.
    pub fn place(&self, name: &str, number: u8) -> Place {
        match self {
            Self::Cables(cables) => cables.place(name, number),
            Self::Loopback => {
                let addr = Ipv4Addr::new(127, 0, 0, 10 + number);
                let held = [hold_port(addr), hold_port(addr)];
                let ports = held.each_ref().map(|socket| socket.local_addr().expect("an address").port());
                Place { addr, ports, prefix: Vec::new(), _namespace: None, _held: held.into() }
            }
        }
    }

    /// Pulls a node's cable out of the switch: whatever is sent is lost without a word.
    ///
    /// # Panics
    /// If there are no cables.
    pub fn cut(&self, name: &str) {
        self.cables().in_switch(&format!("link set {name} nomaster"));
    }

    /// Puts it back.
    ///
    /// # Panics
    /// If there are no cables.
    pub fn heal(&self, name: &str) {
        self.cables().in_switch(&format!("link set {name} master {BRIDGE}"));
    }

    fn cables(&self) -> &Cables {
        let Self::Cables(cables) = self else { panic!("there are no cables") };
        cables
    }
}

impl Cables {
    /// Connects the switch to this machine, by the first block of addresses that no other test has.
    fn plugged_into_this_machine(mut self) -> Self {
        self.in_switch(&format!("link add {BRIDGE} type bridge\nlink set {BRIDGE} up"));
        let switch = self.switch.id();
        for block in 1..=254 {
            // The name can be given once, and is free again when the switch ends.
            let name = format!("wallet-test-{block}");
            let add = format!("link add {name} type veth peer name {UPLINK} netns {switch}");
            let added = batch(Command::new(&self.ip), &add);
            if added.status.success() {
                self.block = block;
                self.in_switch(&format!("link set {UPLINK} master {BRIDGE}\nlink set {UPLINK} up"));
                let up = format!("addr add 198.18.{block}.1/24 dev {name}\nlink set {name} up");
                let done = batch(Command::new(&self.ip), &up);
                assert!(done.status.success(), "{}", text(&done));
                return self;
            }
            assert!(text(&added).contains("File exists"), "{}", text(&added));
        }
        panic!("254 other tests run");
    }

    fn place(&self, name: &str, number: u8) -> Place {
        let namespace = Namespace::new(&self.unshare);
        let addr = Ipv4Addr::new(198, 18, self.block, 10 + number);
        self.in_switch(&format!(
            "link add {name} type veth peer name eth0 netns {}\nlink set {name} master {BRIDGE}\nlink set {name} up",
            namespace.id()
        ));
        self.inside(&namespace, &format!("link set lo up\naddr add {addr}/24 dev eth0\nlink set eth0 up"));
        let prefix = vec![self.nsenter.clone().into_os_string(), namespace.path().into()];
        Place { addr, ports: [5432, 8008], prefix, _namespace: Some(namespace), _held: Vec::new() }
    }

    fn in_switch(&self, commands: &str) {
        self.inside(&self.switch, commands);
    }

    /// Has `ip` do this in a namespace, a command a line.
    fn inside(&self, namespace: &Namespace, commands: &str) {
        let mut command = Command::new(&self.nsenter);
        command.arg(namespace.path()).arg(&self.ip);
        let done = batch(command, commands);
        assert!(done.status.success(), "{commands}: {}", text(&done));
    }
}

/// Has `ip` do this, a command a line.
fn batch(mut ip: Command, commands: &str) -> Output {
    ip.args(["-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = ip.spawn().expect("ip starts");
    child.stdin.take().expect("its input").write_all(commands.as_bytes()).expect("it reads");
    child.wait_with_output().expect("it ends")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A free port at this address, which stays free for whoever may share it.
pub fn hold_port(addr: Ipv4Addr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("an option");
    socket.bind((addr, 0).into()).expect("a free port");
    socket
}
