//! The programs of PostgreSQL on this machine.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::support::optional;

/// The folder of the programs, for a version other than the one that is found.
const BIN: &str = "WALLET_TEST_POSTGRES_BIN";

/// What a folder must have. Some folders on a `PATH` have links to a few of them.
const PROGRAMS: [&str; 5] = ["initdb", "postgres", "pg_ctl", "pg_dump", "pg_basebackup"];

/// The folder of the programs, and whom they run as.
#[derive(Clone)]
pub struct Installation {
    bin: PathBuf,
    /// The user and the group that they run as instead of root, which they refuse.
    user: Option<(u32, u32)>,
}

impl Installation {
    /// The one that `WALLET_TEST_POSTGRES_BIN` names, else the first on the `PATH`, else the newest of Debian's
    /// packages. `None`, after saying so, if there is none.
    ///
    /// # Panics
    /// If the folder that is named lacks a program.
    pub fn find(test: &str) -> Option<Self> {
        let Some(bin) = bin() else {
            optional::skip(test, &format!("needs PostgreSQL: {} in one folder", PROGRAMS.join(", ")));
            return None;
        };
        let root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
        let user = root.then(|| unprivileged().expect("a user other than root"));
        Some(Self { bin, user })
    }

    /// A command that runs one of the programs, with no settings of this environment and in English.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG")) {
            command.env_remove(name);
        }
        command.env("LC_ALL", "C").current_dir("/").stdin(Stdio::null());
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// The folder of the programs.
    pub fn folder(&self) -> &Path {
        &self.bin
    }

    /// What runs another program as that user: nothing, if this one may. `None`, after saying so, if it cannot be done.
    pub fn as_user(&self, test: &str) -> Option<Vec<OsString>> {
        let Some((uid, gid)) = self.user else { return Some(Vec::new()) };
        let [setpriv] = optional::programs(test, ["setpriv"])?;
        let (uid, gid) = (uid.to_string(), gid.to_string());
        let args = ["--reuid", &uid, "--regid", &gid, "--clear-groups"];
        Some([setpriv.into_os_string()].into_iter().chain(args.map(Into::into)).collect())
    }

    /// Gives a folder or a file to the user that the programs run as.
    pub fn own(&self, path: &Path) {
        if let Some((uid, gid)) = self.user {
            chown(path, Some(uid), Some(gid)).expect("root may give it away");
        }
    }
}

/// Checks that a program succeeded.
///
/// # Panics
/// With what it printed, if it failed.
pub fn assert_success(program: &Command, output: &Output) {
    let [out, error] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "{program:?}: {}\n{out}{error}", output.status);
}

fn bin() -> Option<PathBuf> {
    if let Some(bin) = env::var_os(BIN).map(PathBuf::from) {
        assert!(is_whole(&bin), "{BIN}={} has not all of {}", bin.display(), PROGRAMS.join(", "));
        return Some(bin);
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).find(|folder| is_whole(folder)).or_else(newest_package)
}

fn newest_package() -> Option<PathBuf> {
    let packages = fs::read_dir("/usr/lib/postgresql").ok()?.filter_map(Result::ok).map(|package| package.path());
    let version = |bin: &PathBuf| bin.parent()?.file_name()?.to_str()?.parse::<u32>().ok();
    packages.map(|package| package.join("bin")).filter(|bin| is_whole(bin)).max_by_key(version)
}

fn is_whole(folder: &Path) -> bool {
    PROGRAMS.iter().all(|program| folder.join(program).is_file())
}

/// The user and group ids of a user other than root.
fn unprivileged() -> Option<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let ids = |name: &str| {
        let user = users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|user| user[0] == name)?;
        Some((user.get(2)?.parse().ok()?, user.get(3)?.parse().ok()?))
    };
    ids("postgres").or_else(|| ids("nobody"))
}
