//! A tool from the outside: parse, tell the story, print the error, set the status.
//!
//! The only place that prints errors and decides the exit status.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::{ContextKind, ErrorKind};
use clap::{Arg, ArgAction, Command, Parser};
use nix::errno::Errno;

use crate::error::{Error, Result};
use crate::{output, sys, trace};

/// Runs a tool: `story` is told with the parsed arguments, and its error,
/// if there is one, becomes a line on standard error and the exit status.
pub fn run<Cli: Parser>(story: impl FnOnce(Cli) -> Result<ExitCode>) -> ExitCode {
    let command = command::<Cli>();
    trace::begin(command.get_name());
    match parse(command, std::env::args_os().collect()) {
        Ok(Some(cli)) => story(cli),
        Ok(None) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error),
    }
    .unwrap_or_else(|error| ExitCode::from(report(&error)))
}

/// The tool's clap command with what all tools have: `-v`, `--version`, usage rules.
#[must_use]
pub fn command<Cli: Parser>() -> Command {
    Cli::command()
        .version(env!("CARGO_PKG_VERSION"))
        .disable_version_flag(true) // -V is pivot's --volume
        .term_width(100)
        .next_help_heading(None)
        .arg(
            Arg::new(VERBOSE)
                .short('v')
                .long("verbose")
                .global(true)
                .action(ArgAction::SetTrue)
                .help("Print each step as it is taken"),
        )
        .arg(Arg::new("version").long("version").action(ArgAction::Version).help("Print the version"))
}

const VERBOSE: &str = "verbose";

/// Prints an error and its hint, and returns the exit status that it means.
///
/// For a reader of our results that went away we end as any Unix program does:
/// by SIGPIPE, if that was not ignored when we started.
pub(crate) fn report(error: &Error) -> u8 {
    if error.errno() == Some(Errno::EPIPE) && error.object() == output::STANDARD_OUTPUT {
        sys::startup::die_of_sigpipe();
    }
    trace::say(error);
    if let Some(hint) = error.hint_text() {
        trace::say(format_args!("hint: {hint}"));
    }
    error.status()
}

/// Parses the words of the command line. `None`: help or version was asked for and printed.
fn parse<Cli: Parser>(command: Command, words: Vec<OsString>) -> Result<Option<Cli>> {
    if takes_a_command(&command) && ends_with_its_first_separator(&words) {
        return Err(Error::usage("no COMMAND after '--'").hint("give the command to run, or leave '--' out"));
    }
    let name = command.get_name().to_owned();
    match command.try_get_matches_from(words).and_then(|matches| {
        trace::set_verbose(matches.get_flag(VERBOSE));
        Cli::from_arg_matches(&matches)
    }) {
        Ok(cli) => Ok(Some(cli)),
        Err(error) if error.use_stderr() => Err(usage_error(&name, &error)),
        Err(help_or_version) => output::write(help_or_version.to_string()).map(|()| None),
    }
}

/// Whether what follows `--` is COMMAND, and not just more operands.
fn takes_a_command(tool: &Command) -> bool {
    tool.get_positionals().any(Arg::is_last_set)
}

/// A script's empty `"$@"` after `--`: clap takes it for "no command", which would
/// end with status 0 and nothing run. An inner tool's `--` is not our business.
fn ends_with_its_first_separator(words: &[OsString]) -> bool {
    words.iter().position(|word| word == "--").is_some_and(|first| first + 1 == words.len())
}

/// One line and a hint, from clap's several.
fn usage_error(tool: &str, error: &clap::Error) -> Error {
    let text = error.to_string();
    let message: Vec<&str> = text
        .lines()
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("  tip:"))
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let message = message.join(" ");
    let message = match error.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => "nothing to do",
        _ => message.strip_prefix("error: ").unwrap_or(&message),
    };
    let hint = match error.get(ContextKind::SuggestedArg) {
        Some(suggestion) => format!("did you mean {suggestion}? '{tool} --help' lists the options"),
        None => format!("'{tool} --help' shows how to use it"),
    };
    Error::usage(message).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Parser, Debug)]
    #[command(name = "tool")]
    struct Cli {
        #[arg(long)]
        size: Option<u8>,
        place: String,
        #[arg(last = true)]
        command: Vec<OsString>,
    }

    fn parsed(words: &[&str]) -> Result<Option<Cli>> {
        parse(command::<Cli>(), words.iter().map(OsString::from).collect())
    }

    #[test]
    fn inner_flags_and_separators_belong_to_the_command() {
        let cli = parsed(&["tool", "here", "--", "x", "--size", "--", "-v"]).unwrap().unwrap();
        assert_eq!(cli.command, ["x", "--size", "--", "-v"]);
    }

    #[test]
    fn options_may_follow_operands() {
        assert_eq!(parsed(&["tool", "here", "--size", "3"]).unwrap().unwrap().size, Some(3));
    }

    #[test]
    fn a_separator_with_nothing_after_it_is_a_usage_error() {
        assert_eq!(parsed(&["tool", "here", "--"]).unwrap_err().status(), 125);
        assert!(parsed(&["tool", "here", "--", "x", "--"]).is_ok());
    }

    #[test]
    fn without_a_command_it_ends_the_options_and_nothing_else() {
        #[derive(Parser, Debug)]
        struct Plain {
            #[arg(required = true)]
            places: Vec<OsString>,
        }
        let parsed = |words: &[&str]| -> Result<Option<Plain>> {
            parse(command::<Plain>(), words.iter().map(OsString::from).collect())
        };
        assert_eq!(parsed(&["tool", "here", "--"]).unwrap().unwrap().places, ["here"]);
        assert_eq!(parsed(&["tool", "--", "-x"]).unwrap().unwrap().places, ["-x"]);
        let error = parsed(&["tool", "--"]).unwrap_err();
        assert_eq!(error.to_string(), "the following required arguments were not provided: <PLACES>...");
    }

    #[test]
    fn a_usage_error_is_one_line_with_a_hint() {
        let error = parsed(&["tool", "here", "--sizo", "3"]).unwrap_err();
        assert_eq!(error.to_string(), "unexpected argument '--sizo' found");
        assert_eq!(error.hint_text(), Some("did you mean --size? 'tool --help' lists the options"));
        let error = parsed(&["tool"]).unwrap_err();
        assert_eq!(error.to_string(), "the following required arguments were not provided: <PLACE>");
    }
}
