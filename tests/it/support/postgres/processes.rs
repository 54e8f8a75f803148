//! The processes of a server: the one that was started, and its children.

use std::fs;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// Stops them all, as they are, and returns them when none runs. The first one is stopped first: it starts no others.
pub fn freeze(server: u32) -> Vec<u32> {
    send(server, Signal::STOP);
    wait_until(server, "TXZ");
    let path = format!("/proc/{server}/task/{server}/children");
    let children = fs::read_to_string(path).expect("the kernel lists a process's children");
    let children: Vec<u32> = children.split_whitespace().map(|id| id.parse().expect("a process id")).collect();
    for child in &children {
        send(*child, Signal::STOP);
    }
    for child in &children {
        wait_until(*child, "TXZ");
    }
    [server].into_iter().chain(children).collect()
}

/// Lets frozen processes go on.
pub fn thaw(processes: &[u32]) {
    for process in processes.iter().rev() {
        send(*process, Signal::CONT);
    }
}

/// Kills them all at once, and returns when none runs. The first one is left for its parent to wait for.
pub fn kill(server: u32) {
    let processes = freeze(server);
    for process in &processes {
        send(*process, Signal::KILL);
    }
    for process in processes {
        wait_until(process, "XZ");
    }
}

/// Sends a signal. A process that has ended needs none.
pub fn send(process: u32, signal: Signal) {
    let id = i32::try_from(process).ok().and_then(Pid::from_raw).expect("a process id");
    let _ = kill_process(id, signal);
}

/// Waits until the process is in one of these states, or gone.
fn wait_until(process: u32, states: &str) {
    while state(process).is_some_and(|state| !states.contains(state)) {
        thread::sleep(Duration::from_millis(1));
    }
}

/// The letter that the kernel gives a process's state: it follows the name, which ends with the last parenthesis.
fn state(process: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}
