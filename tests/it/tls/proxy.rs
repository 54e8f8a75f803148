//! The three proxies, each started with its deployed configuration. Only addresses and folders are another's.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use tokio::net::TcpSocket;

use super::certificates::{Authority, Identity};

/// How Envoy runs in a test: it does not look for others that run, and says little more than when it is ready.
const ENVOY: [&str; 7] =
    ["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning", "--component-log-level", "config:info"];

/// The proxy's log of calls, in its folder.
const ACCESS_LOG: &str = "access.log";

/// Where a wallet serves REST and gRPC.
pub type Addrs = (SocketAddr, SocketAddr);

/// Which proxy it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Nginx,
    Envoy,
    Caddy,
}

/// The certificates of a deployment.
pub struct Files {
    /// Whom clients trust.
    pub authority: Authority,
    pub server: Identity,
    /// Whose clients the proxy takes; everybody, if there is none.
    pub clients: Option<Authority>,
}

/// A running proxy, stopped when dropped.
pub struct Proxy {
    pub kind: Kind,
    pub addr: SocketAddr,
    program: PathBuf,
    dir: PathBuf,
    child: Child,
    errors: Option<JoinHandle<String>>,
    // Holds the port, and never listens.
    _port: Option<TcpSocket>,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Nginx, Self::Envoy, Self::Caddy];

    pub const fn program(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Envoy => "envoy",
            Self::Caddy => "caddy",
        }
    }

    /// The files that are deployed: the name and the text of each, first the one that the program is started with.
    const fn deployed(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Nginx => &[("nginx.conf", include_str!("../../../deploy/nginx/nginx.conf"))],
            Self::Envoy => &[
                ("envoy.yaml", include_str!("../../../deploy/envoy/envoy.yaml")),
                ("certificate.yaml", include_str!("../../../deploy/envoy/certificate.yaml")),
            ],
            Self::Caddy => &[("Caddyfile", include_str!("../../../deploy/caddy/Caddyfile"))],
        }
    }

    /// What a test must have another way: what is deployed, and what is here.
    fn changes(self, addr: SocketAddr, dir: &Path, wallets: &[Addrs]) -> Vec<(String, String)> {
        let dir = dir.display();
        let (rest, grpc) = wallets[0];
        // What nginx makes of a name that has several addresses.
        let servers = |of: fn(Addrs) -> SocketAddr| {
            let server = |wallet: &Addrs| format!("server {} max_fails=1 fail_timeout=1s;", of(*wallet));
            wallets.iter().map(server).collect::<Vec<_>>().join(" ")
        };
        assert!(wallets.len() == 1 || self == Self::Nginx, "{self:?} is deployed before one wallet");
        let changes = match self {
            Self::Nginx => vec![
                ("listen 443 ", format!("listen {addr} ")),
                ("server wallet:5000 max_fails=1 fail_timeout=1s;", servers(|(rest, _)| rest)),
                ("server wallet:50051 max_fails=1 fail_timeout=1s;", servers(|(_, grpc)| grpc)),
                (" /tmp/", format!(" {dir}/")),
                (" /dev/stdout ", format!(" {dir}/access.log ")),
            ],
            Self::Envoy => vec![
                ("address: 0.0.0.0, port_value: 443 ", format!("address: 127.0.0.1, port_value: {} ", addr.port())),
                ("address: wallet, port_value: 5000 ", format!("address: 127.0.0.1, port_value: {} ", rest.port())),
                ("address: wallet, port_value: 50051 ", format!("address: 127.0.0.1, port_value: {} ", grpc.port())),
                (" /etc/envoy", format!(" {dir}")),
            ],
            Self::Caddy => vec![
                ("\n:443 {", format!("\n:{} {{\n\tbind 127.0.0.1", addr.port())),
                (" wallet:5000 ", format!(" {rest} ")),
                ("//wallet:50051 ", format!("//{grpc} ")),
                ("/tmp/", format!("{dir}/")),
                ("/etc/caddy/", format!("{dir}/")),
            ],
        };
        changes.into_iter().map(|(deployed, here)| (deployed.to_owned(), here)).collect()
    }

    /// The command that runs it, in the foreground.
    fn command(self, program: &Path, config: &Path) -> Command {
        let mut command = Command::new(program);
        match self {
            Self::Nginx => command.arg("-c").arg(config).args(["-g", "daemon off;"]),
            Self::Envoy => command.arg("-c").arg(config).args(ENVOY),
            Self::Caddy => command.args(["run", "--adapter", "caddyfile", "--config"]).arg(config),
        };
        command
    }
}

/// Writes the configuration; the path of the file that the program is started with.
fn write(kind: Kind, addr: SocketAddr, dir: &Path, files: &Files, wallets: &[Addrs]) -> PathBuf {
    fs::create_dir(dir.join("tls")).expect("a folder");
    fs::write(dir.join("authority.crt"), files.authority.certificate()).expect("a file");
    fs::write(dir.join("tls/server.crt"), &files.server.certificate).expect("a file");
    fs::write(dir.join("tls/server.key"), &files.server.key).expect("a file");
    if let Some(clients) = &files.clients {
        fs::write(dir.join("tls/clients.crt"), clients.certificate()).expect("a file");
    }
    let changes = kind.changes(addr, dir, wallets);
    let mut texts: Vec<String> = kind.deployed().iter().map(|(_, text)| (*text).to_owned()).collect();
    for (deployed, here) in changes {
        assert!(texts.iter().any(|text| text.contains(&deployed)), "{kind:?} is not configured with `{deployed}`");
        texts = texts.iter().map(|text| text.replace(&deployed, &here)).collect();
    }
    for ((name, _), text) in kind.deployed().iter().zip(texts) {
        let text = if files.clients.is_some() { with_client_certificates(&text) } else { text };
        fs::write(dir.join(name), text).expect("a file");
    }
    dir.join(kind.deployed()[0].0)
}

/// Does what the configurations say: the settings of client certificates have a `#` and no space before them.
fn with_client_certificates(text: &str) -> String {
    let enabled = |line: &str| {
        let setting = line.trim_start().strip_prefix('#');
        setting.is_some_and(|rest| rest.starts_with(|c: char| c != ' '))
    };
    let lines = text.lines().map(|line| if enabled(line) { line.replacen('#', "", 1) } else { line.to_owned() });
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

impl Proxy {
    /// Starts it before these wallets, and returns when whoever connects is served.
    pub fn start(kind: Kind, program: &Path, dir: &Path, files: &Files, wallets: &[Addrs]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let (addr, stdin, port) = if kind == Kind::Nginx {
            // nginx is handed a socket that listens already, as in its own live upgrade: no port can be lost to another
            // program, and whoever connects before it is up waits for it. nginx leaves the socket as it is. If that
            // blocked, of two workers that hear of one connection the second would wait in `accept` for another.
            listener.set_nonblocking(true).expect("a socket that does not block");
            (listener.local_addr().expect("its address"), Stdio::from(OwnedFd::from(listener)), None)
        } else {
            // The others share a port that is held here, so that no other program gets it.
            let port = TcpSocket::new_v4().expect("a socket");
            port.set_reuseport(true).expect("a shared port");
            port.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
            (port.local_addr().expect("its address"), Stdio::null(), Some(port))
        };
        let config = write(kind, addr, dir, files, wallets);
        let stdout = if kind == Kind::Nginx {
            Stdio::null()
        } else {
            File::create(dir.join(ACCESS_LOG)).expect("a file").into()
        };
        let mut child = kind
            .command(program, &config)
            .current_dir(dir)
            .env("NGINX", "0;")
            .env("XDG_DATA_HOME", dir)
            .env("XDG_CONFIG_HOME", dir)
            .stdin(stdin)
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the proxy starts");
        let mut stderr = BufReader::new(child.stderr.take().expect("its standard error"));
        let mut errors = String::new();
        if kind != Kind::Nginx {
            while !["starting workers", "serving initial configuration"].iter().any(|ready| errors.contains(ready)) {
                let read = stderr.read_line(&mut errors).expect("a line");
                assert_ne!(read, 0, "{kind:?} ended before it served: {errors}");
            }
            // It listens at any moment now.
            while TcpStream::connect(addr).is_err() {
                assert!(child.try_wait().expect("its state").is_none(), "{kind:?} ended: {errors}");
                std::thread::yield_now();
            }
        }
        let errors = std::thread::spawn(move || {
            let _ = stderr.read_to_string(&mut errors);
            errors
        });
        let (program, dir) = (program.to_owned(), dir.to_owned());
        Self { kind, addr, program, dir, child, errors: Some(errors), _port: port }
    }

    /// Gives it another certificate, and tells it as the documents say. It takes it at some moment after that.
    pub fn renew(&self, server: &Identity) {
        for (name, text) in [("server.key", &server.key), ("server.crt", &server.certificate)] {
            let new = self.dir.join(name);
            fs::write(&new, text).expect("a file");
            fs::rename(new, self.dir.join("tls").join(name)).expect("a file");
        }
        match self.kind {
            Kind::Nginx => self.signal("HUP"),
            // It watches the folder.
            Kind::Envoy => (),
            Kind::Caddy => {
                let mut reload = Command::new(&self.program);
                reload
                    .args(["reload", "--force", "--adapter", "caddyfile", "--config"])
                    .arg(self.dir.join("Caddyfile"));
                reload.arg("--address").arg(format!("unix/{}/caddy-admin.sock", self.dir.display()));
                let reloaded = reload.env("HOME", &self.dir).output().expect("caddy starts");
                assert!(reloaded.status.success(), "{}", String::from_utf8_lossy(&reloaded.stderr));
            }
        }
    }

    /// Ends it in order; all that it logged.
    pub fn stop(mut self) -> String {
        self.end("TERM");
        fs::read_to_string(self.dir.join(ACCESS_LOG)).expect("the proxy logs")
    }

    fn end(&mut self, signal: &str) {
        self.signal(signal);
        let _ = self.child.wait();
    }

    fn signal(&self, name: &str) {
        let _ = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // nginx in order: killed, it would leave its workers behind. The others would wait for open streams.
        self.end(if self.kind == Kind::Nginx { "TERM" } else { "KILL" });
        let errors = self.errors.take().and_then(|errors| errors.join().ok()).unwrap_or_default();
        if std::thread::panicking() {
            eprintln!("{:?}: {errors}", self.kind);
        }
    }
}
