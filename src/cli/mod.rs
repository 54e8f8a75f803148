//! The command line: one file for each group of subcommands.

pub mod healthcheck;
pub mod maintenance;
