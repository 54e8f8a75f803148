//! What the tests share: the service in this process or as a program, its clients, an oracle and a checker.

pub mod app;
pub mod doors;
pub mod faulty;
pub mod linear;
pub mod optional;
pub mod oracle;
pub mod process;
pub mod script;
pub mod seed;
pub mod step;
pub mod strace;
