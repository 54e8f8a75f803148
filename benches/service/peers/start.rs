//! How the programs of the peers are run.

use std::net::TcpListener;
use std::process::Command;
use std::thread;
use std::time::Duration;

/// How often, and how many times, a server is asked whether it is up.
const TRY_INTERVAL: Duration = Duration::from_millis(100);
const TRIES: u32 = 300;

/// A port that is free at this moment.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there are ports left");
    listener.local_addr().expect("it has an address").port()
}

/// Waits until `up` is true, for 30 seconds at the most.
pub fn wait_until(up: impl Fn() -> bool) -> Result<(), String> {
    for _ in 0..TRIES {
        if up() {
            return Ok(());
        }
        thread::sleep(TRY_INTERVAL);
    }
    Err("it does not come up".to_owned())
}

/// What a program printed, or why it failed.
pub fn output(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().display().to_string();
    let output = command.output().map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("{name}: {}", said.lines().last().unwrap_or_default()))
}
