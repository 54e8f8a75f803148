//! The command line and the environment, read together.

use std::env;
use std::ffi::{OsStr, OsString};

use clap::error::{Error, ErrorKind};
use clap::{Command, CommandFactory as _, FromArgMatches as _};

use super::{CommandLine, Secret, Task};

/// What the environment variables of settings begin with.
const PREFIX: &str = "WALLET_";
/// How alike two names are if one may be the other, misspelt (by Jaro and Winkler; 1 is the same).
const SIMILARITY_MIN: f64 = 0.8;

impl CommandLine {
    /// What this process is asked to do.
    ///
    /// A variable that is set but empty counts as not set. One that begins with `WALLET_` and is no setting is an
    /// error: a misspelt setting must not be taken for its default.
    ///
    /// # Errors
    /// What is wrong with the command line or the environment; also when help or the version is asked for.
    pub fn read() -> Result<Task, Error> {
        let is_empty = |name: &OsStr| env::var_os(name).is_some_and(|value| value.is_empty());
        let task = Self::parse(env::args_os(), &is_empty)?;
        task.check().map_err(|why| Error::raw(ErrorKind::ValueValidation, why))?;
        refuse_unknown(&Self::command(), env::vars_os())?;
        Ok(task)
    }

    /// What the arguments ask for, and the environment without those variables that `is_left_out` says.
    pub(super) fn parse(
        args: impl IntoIterator<Item = impl Into<OsString>>,
        is_left_out: &dyn Fn(&OsStr) -> bool,
    ) -> Result<Task, Error> {
        let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
        let command = Self::command();
        // `serve` needs no name. Its settings are nothing to a command that was named.
        let is_named = args.get(1).is_some_and(|word| command.find_subcommand(word).is_some());
        let command = without_variables(command, &|name| is_named || is_left_out(name));
        let mut command = in_subcommands(command, is_left_out);
        let matches = command.try_get_matches_from_mut(args)?;
        let Self { task, settings } = Self::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
        Ok(task.unwrap_or_else(|| Task::Serve(Box::new(settings))))
    }
}

/// The command, as if the settings of its subcommands, and of theirs, had no variables of these names.
fn in_subcommands(command: Command, is_left_out: &dyn Fn(&OsStr) -> bool) -> Command {
    command.mut_subcommands(|command| in_subcommands(without_variables(command, is_left_out), is_left_out))
}

/// The command, as if its settings had no variables of these names.
fn without_variables(command: Command, is_left_out: &dyn Fn(&OsStr) -> bool) -> Command {
    command.mut_args(|arg| if arg.get_env().is_some_and(is_left_out) { arg.env(None::<&str>) } else { arg })
}

/// Refuses variables that look like settings and are none. Their values are not shown: one may be a secret.
fn refuse_unknown(command: &Command, variables: impl Iterator<Item = (OsString, OsString)>) -> Result<(), Error> {
    let known: Vec<&str> = known(command).collect();
    let is_unknown = |(name, value): &(OsString, OsString)| {
        let name = name.to_string_lossy();
        let is_setting = name.starts_with(PREFIX) && !value.is_empty() && !known.contains(&&*name);
        is_setting && !is_service_link(&name, &value.to_string_lossy())
    };
    let unknown = variables.filter(is_unknown).map(|(name, _)| describe(&name.to_string_lossy(), &known));
    let mut unknown: Vec<String> = unknown.collect();
    if unknown.is_empty() {
        return Ok(());
    }
    unknown.sort_unstable();
    let message = format!("no setting is called {}; correct the environment or unset it", unknown.join(", "));
    Err(Error::raw(ErrorKind::UnknownArgument, message))
}

/// The variables of all settings.
fn known(command: &Command) -> impl Iterator<Item = &str> {
    let commands = std::iter::once(command).chain(command.get_subcommands());
    let flags = commands.flat_map(Command::get_arguments).filter_map(|arg| arg.get_env()?.to_str());
    flags.chain(Secret::ALL.map(Secret::variable))
}

/// A variable that is no setting, and the setting that is most like it.
fn describe(name: &str, known: &[&str]) -> String {
    // All names begin alike, which would make any two similar.
    let similarity =
        |other: &str| strsim::jaro_winkler(name.trim_start_matches(PREFIX), other.trim_start_matches(PREFIX));
    let nearest = known.iter().map(|other| (similarity(other), other)).max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((similarity, nearest)) if similarity >= SIMILARITY_MIN => format!("{name} (did you mean {nearest}?)"),
        _ => name.to_owned(),
    }
}

/// Whether a variable is one of those in which Kubernetes and Docker tell a container of a service that is called
/// `wallet`, or `wallet-…`.
fn is_service_link(name: &str, value: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_port = |rest: &str| {
        let mut words = rest.split('_');
        let number = words.next().is_some_and(is_number);
        number && matches!(words.next(), Some("TCP" | "UDP" | "SCTP"))
    };
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT_")
        || name.ends_with("_SERVICE_PORT")
        || name.split_once("_PORT_").is_some_and(|(_, rest)| is_port(rest))
        // `WALLET_HTTP_PORT=8080` is a setting that somebody hopes for; a service's is a URL.
        || (name.ends_with("_PORT") && value.contains("://"))
}

/// What is wrong and how to mend it, in one line. The rest of clap's text is what `--help` has.
#[must_use]
pub fn one_line(error: &Error) -> String {
    let text = error.to_string();
    let paragraphs = text.split("\n\n").map(|paragraph| {
        let lines: Vec<&str> = paragraph.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        lines.join(" ")
    });
    let needed = |paragraph: &String| {
        !paragraph.is_empty() && !paragraph.starts_with("Usage:") && !paragraph.starts_with("For more information")
    };
    let mut paragraphs: Vec<String> = paragraphs.filter(needed).collect();
    if error.kind() == ErrorKind::ArgumentConflict && text.contains("the subcommand '") {
        paragraphs.push("tip: flags stand after the command".to_owned());
    }
    paragraphs.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(variables: &[(&str, &str)]) -> Option<String> {
        let variables = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        refuse_unknown(&CommandLine::command(), variables).err().map(|error| one_line(&error))
    }

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn a_misspelt_variable_is_refused_with_the_nearest_setting_and_without_its_value() {
        let text = refused(&[("WALLET_CURRNCY", "a secret")]).unwrap();
        assert!(text.contains("WALLET_CURRNCY (did you mean WALLET_CURRENCY?)"), "{text}");
        assert!(!text.contains("secret"), "{text}");
        let text = refused(&[("WALLET_Q", "1"), ("WALLET_HTTP_PORT", "8080")]).unwrap();
        assert!(text.contains("WALLET_HTTP_PORT (did you mean WALLET_HTTP_ADDR?), WALLET_Q;"), "{text}");
    }

    #[test]
    fn settings_and_the_variables_of_others_are_taken() {
        assert_eq!(refused(&[("WALLET_LOG", "info"), ("PATH", "/"), ("WALLETS", "x"), ("WALLET_X", "")]), None);
    }

    /// What Kubernetes sets in each container of a namespace that has services `wallet` and `wallet-grpc`.
    #[test]
    fn a_service_called_wallet_is_no_setting() {
        for (name, value) in [
            ("WALLET_SERVICE_HOST", "10.0.0.11"),
            ("WALLET_SERVICE_PORT", "5000"),
            ("WALLET_SERVICE_PORT_HTTP", "5000"),
            ("WALLET_PORT", "tcp://10.0.0.11:5000"),
            ("WALLET_PORT_5000_TCP", "tcp://10.0.0.11:5000"),
            ("WALLET_PORT_5000_TCP_PROTO", "tcp"),
            ("WALLET_PORT_5000_TCP_PORT", "5000"),
            ("WALLET_PORT_5000_TCP_ADDR", "10.0.0.11"),
            ("WALLET_GRPC_SERVICE_HOST", "10.0.0.12"),
            ("WALLET_GRPC_PORT_50051_TCP_ADDR", "10.0.0.12"),
        ] {
            assert_eq!(refused(&[(name, value)]), None, "{name}");
        }
    }
}
