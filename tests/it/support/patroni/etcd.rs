//! The store in which Patroni keeps who the primary is.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tokio::net::TcpSocket;

use super::network::{Network, hold_port};

/// A running etcd of one member, ended when dropped.
pub struct Etcd {
    /// Where Patroni asks it.
    pub addr: SocketAddr,
    child: Child,
    // They hold the ports, and never listen.
    _held: [TcpSocket; 2],
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Etcd {
    pub fn start(program: &Path, network: &Network, dir: &Path) -> Self {
        let held = [hold_port(network.here()), hold_port(network.here())];
        let addrs = held.each_ref().map(|socket| socket.local_addr().expect("an address"));
        let [client, peer] = addrs.map(|addr| format!("http://{addr}"));
        let log = File::create(dir.join("etcd.log")).expect("a log");
        let mut command = Command::new(program);
        for (flag, value) in [
            ("--listen-client-urls", &client),
            ("--advertise-client-urls", &client),
            ("--listen-peer-urls", &peer),
            ("--initial-advertise-peer-urls", &peer),
            ("--initial-cluster", &format!("default={peer}")),
        ] {
            command.args([flag, value]);
        }
        command.arg("--data-dir").arg(dir.join("etcd")).current_dir(dir).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("a file")).stderr(log);
        Self { addr: addrs[0], child: command.spawn().expect("etcd starts"), _held: held }
    }
}
