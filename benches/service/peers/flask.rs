//! Flask and sqlite3 under gunicorn: the kind of wallet that this one replaces.

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;

use super::start::{free_port, output, wait_until};
use crate::database;
use crate::http::{ChargeCaller, Target};
use crate::load;
use crate::process::Process;
use crate::sample::{Sample, Window};
use crate::wallets::{COUNT, Ids, OPENING, Share, Wallets};

/// The folder of `wallet.py`.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/service/peers");
const WORKERS: &str = "4";

pub struct Flask {
    server: Process,
    addr: SocketAddr,
    database: PathBuf,
    wallets: Arc<Wallets>,
}

impl Flask {
    /// Starts it over a new database with this journal mode.
    pub fn start(dir: &Path, journal: &str) -> Result<Self, String> {
        let database = dir.join(format!("flask-{journal}.db"));
        let python = || {
            let mut command = Command::new("python3");
            command.current_dir(FOLDER).env("PYTHONDONTWRITEBYTECODE", "1");
            command.env("WALLET_DB", &database).env("WALLET_JOURNAL", journal);
            command
        };
        output(python().args(["-c", "import flask, gunicorn"]))?;
        output(python().arg("wallet.py").arg((COUNT + 1).to_string()).arg(OPENING.to_string()))?;
        let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let log = File::create(dir.join("flask.log")).map_err(|error| error.to_string())?;
        let server = python()
            .args(["-m", "gunicorn", "--workers", WORKERS, "--bind", &addr.to_string(), "wallet:app"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|error| error.to_string())?;
        let server = Process(server);
        wait_until(|| TcpStream::connect(addr).is_ok())?;
        Ok(Self { server, addr, database, wallets: Arc::new(Wallets::new()) })
    }

    pub async fn charge(&self, callers: usize, time: Duration) -> Sample {
        let shares = Share::deal(&self.wallets, callers, Ids::Rising);
        let callers = ChargeCaller::connect_all(&Target::new(self.addr, None), shares).await;
        load::closed(callers, Window::of(time)).await
    }

    pub fn finish(mut self) {
        self.server.end();
        database::check_rows(&Connection::open(&self.database).expect("it opens"), &self.wallets);
    }
}
