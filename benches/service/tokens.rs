//! Tokens for the callers of a service that asks for them.

use std::path::PathBuf;
use std::process::Command;

use super::process::Program;

/// The names of the two callers, which are their scopes too.
pub const OPERATOR: &str = "operator";
pub const ENGINE: &str = "engine";

/// A tokens file, and the tokens in it.
pub struct Tokens {
    pub file: PathBuf,
    /// Opens wallets.
    pub operator: String,
    /// Charges and reads wallets.
    pub engine: String,
}

impl Tokens {
    /// Has the program make a tokens file at this path.
    pub fn create(program: &Program, file: PathBuf) -> Self {
        let create = |name: &str| {
            let mut command = Command::new(program.path());
            command.args(["token", "new", "--name", name, "--scope", name, "--tokens-file"]).arg(&file);
            let output = command.output().expect("the program starts");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let said = String::from_utf8(output.stdout).expect("text");
            said.lines().last().expect("the last line is the token").to_owned()
        };
        let (operator, engine) = (create(OPERATOR), create(ENGINE));
        Self { file, operator, engine }
    }
}
