//! The command line, SRS's letters and a few long names: from arguments to what is to be done. Nothing is
//! printed, read from disk or started here; [`test()`] alone reads a configuration.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser};

use crate::config::{Config, Environment, Source};

/// What the arguments ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Print this text on standard output and exit with 0.
    Print(String),
    /// Read the configuration, say whether it is good, and exit; see [`test()`].
    Test(Source),
    /// Say whether the server of this configuration runs, and exit; see [`status()`](crate::status()).
    Status(Source),
    /// Explain the configuration, and exit; see [`check()`](crate::check()).
    Check(Source),
    /// Have the running server of this configuration reload, and exit; see [`reload()`](crate::reload()).
    Reload {
        /// The configuration, which says where the server is.
        source: Source,
        /// Only say what would happen.
        dry: bool,
    },
    /// Have a new process take over from the running server of this configuration, and exit; see [`upgrade()`](crate::upgrade()).
    Upgrade(Source),
    /// Run the server.
    Run(Source),
}

/// Arguments that make no sense; the text says why. The process exits with [`REFUSED`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// Exit status for arguments and configurations that are refused: the low byte of SRS's 1023.
pub const REFUSED: u8 = 255;

/// Version of this server, a line for `-v`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Name and version, as told to clients and for `-g`.
pub const SIGNATURE: &str = concat!("Oxcast/", env!("CARGO_PKG_VERSION"));

/// Reads `args`, the name of the program first. `SRS_CONFIG_FILE` wins over `-c`; `SRS_ENV_ONLY`, even
/// empty, is as good as `-e`.
///
/// # Errors
/// An unknown option, or `-c` without a file.
pub fn parse(args: impl IntoIterator<Item = OsString>, env: &Environment) -> Result<Action, Refused> {
    let args = match Args::read(args) {
        Ok(args) => args,
        Err(error) if error.kind() == ErrorKind::DisplayHelp => return Ok(Action::Print(help())),
        Err(error) => return Err(Refused(error.to_string().trim_end().to_owned())),
    };
    let word = match &args.words[..] {
        [] => None,
        [word] => word.to_str(),
        _ => Some(""),
    };
    // SRS answers a word that is no option with its help.
    if args.help || word.is_some_and(|word| !COMMANDS.contains(&word)) {
        return Ok(Action::Print(help()));
    }
    if args.version {
        return Ok(Action::Print(format!("{VERSION}\n")));
    }
    if args.signature {
        return Ok(Action::Print(format!("{SIGNATURE}\n")));
    }
    let file = env.value("SRS_CONFIG_FILE").map(PathBuf::from).or(args.config);
    let source = match file {
        _ if args.env_only || env.contains("SRS_ENV_ONLY") => Source::EnvOnly,
        Some(path) => Source::File(path),
        None => Source::BuiltIn,
    };
    Ok(match word {
        Some("status") => Action::Status(source),
        Some("check") => Action::Check(source),
        Some("upgrade") => Action::Upgrade(source),
        Some("reload") => Action::Reload { source, dry: args.dry_run },
        _ if args.test => Action::Test(source),
        _ => Action::Run(source),
    })
}

/// Reads the configuration and says in words whether it is good: the lines to print and the exit status.
pub fn test(source: &Source, env: &Environment) -> (String, u8) {
    let name = match source {
        Source::File(path) => format!("configuration file {}", path.display()),
        Source::BuiltIn => "built-in configuration".to_owned(),
        Source::EnvOnly => "configuration from the environment".to_owned(),
    };
    match Config::load(source, env) {
        Ok(config) => {
            let warnings: String =
                config.warnings.iter().map(|warning| format!("warning: {warning}\n\n")).collect();
            (format!("{warnings}{name}: syntax is ok\n{name}: test is successful\n"), 0)
        }
        Err(error) => (format!("{error}\n{name}: test failed\n"), error.exit_status()),
    }
}

/// A realtime video server. Without a file it serves RTMP on 1935, HTTP-FLV on 8080 and its API on 1985.
#[derive(Debug, Parser)]
#[command(name = "oxcast", disable_help_flag = true, disable_version_flag = true, args_override_self = true)]
#[command(override_usage = "oxcast [OPTIONS]\n       oxcast [OPTIONS] status|check|reload|upgrade", after_help = HELP)]
struct Args {
    /// Configuration file; the last one given counts
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Test the configuration and exit
    #[arg(short, long)]
    test: bool,
    /// Read environment variables (SRS_LISTEN=1935 …) and no file
    #[arg(short)]
    env_only: bool,
    /// Print the version and exit
    #[arg(short, short_alias = 'V', long)]
    version: bool,
    /// Print name and version and exit
    #[arg(short = 'g', short_alias = 'G')]
    signature: bool,
    /// Print this help and exit
    #[arg(short, short_alias = '?', long)]
    help: bool,
    /// With `reload`: only say what would change
    #[arg(long)]
    dry_run: bool,
    #[arg(hide = true)]
    words: Vec<OsString>,
}

/// Words that are commands.
const COMMANDS: [&str; 4] = ["status", "check", "reload", "upgrade"];

const HELP: &str = "\
Commands, each about the configuration that is given:
  oxcast status    says whether its server runs, and exits with 0 if it does, with 3 if it does not, and with 1 if it has crashed
  oxcast check     explains it: where it listens, what each vhost does, what differs from the defaults
  oxcast reload    has its server read it again (as SIGHUP does), and says what has changed; --dry-run only says it
  oxcast upgrade   has a new process, of the program file as it is now, take over from its server (as SIGUSR2 does)";

impl Args {
    fn read(args: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        Self::from_arg_matches(&Self::command().try_get_matches_from(args)?)
    }
}

fn help() -> String {
    Args::command().render_help().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(line: &str) -> Result<Action, Refused> {
        run_with(line, &[])
    }

    fn run_with(line: &str, env: &[(&str, &str)]) -> Result<Action, Refused> {
        let args = ["oxcast"].into_iter().chain(line.split_whitespace()).map(OsString::from);
        parse(args, &env.iter().copied().collect())
    }

    fn file(path: &str) -> Source {
        Source::File(path.into())
    }

    #[test]
    fn letters_of_srs() {
        assert_eq!(run("-c a.conf"), Ok(Action::Run(file("a.conf"))));
        assert_eq!(run("-c a.conf -c b.conf"), Ok(Action::Run(file("b.conf"))));
        assert_eq!(run("--config b.conf"), Ok(Action::Run(file("b.conf"))));
        assert_eq!(run("-t -c a.conf"), Ok(Action::Test(file("a.conf"))));
        assert_eq!(run("-tc a.conf"), Ok(Action::Test(file("a.conf"))));
        assert_eq!(run("--test -t"), Ok(Action::Test(Source::BuiltIn)));
        assert_eq!(run("-e"), Ok(Action::Run(Source::EnvOnly)));
        assert_eq!(run(""), Ok(Action::Run(Source::BuiltIn)));
    }

    #[test]
    fn help_wins_over_version_over_signature_over_all_else() {
        for line in ["-h", "-?", "--help", "-v -h", "-g -v -h -c a.conf", "conf/rtmp.conf"] {
            assert!(matches!(run(line), Ok(Action::Print(text)) if text.contains("Usage")), "{line}");
        }
        for line in ["-v", "-V", "--version", "-g -v", "-v -t", "-vv"] {
            assert_eq!(run(line), Ok(Action::Print("0.1.0\n".into())), "{line}");
        }
        assert_eq!(run("-G"), Ok(Action::Print("Oxcast/0.1.0\n".into())));
    }

    #[test]
    fn the_word_status_asks_about_a_server() {
        assert_eq!(run("status"), Ok(Action::Status(Source::BuiltIn)));
        assert_eq!(run("status -c a.conf"), Ok(Action::Status(file("a.conf"))));
        assert_eq!(run("-c a.conf -t status"), Ok(Action::Status(file("a.conf"))));
        assert_eq!(run("-v status"), Ok(Action::Print("0.1.0\n".into())));
        assert_eq!(run("upgrade -c a.conf"), Ok(Action::Upgrade(file("a.conf"))));
        assert_eq!(run("check -c a.conf"), Ok(Action::Check(file("a.conf"))));
        for (line, dry) in [("reload -c a.conf", false), ("-c a.conf reload --dry-run", true)] {
            assert_eq!(run(line), Ok(Action::Reload { source: file("a.conf"), dry }), "{line}");
        }
        for line in ["status now", "status status", "Status", "-h status"] {
            assert!(matches!(run(line), Ok(Action::Print(text)) if text.contains("Usage")), "{line}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for line in ["-x", "-T", "--nonsense", "-c"] {
            assert!(run(line).is_err(), "{line}");
        }
    }

    #[test]
    fn control_variables() {
        let with = |line, env: &[_]| run_with(line, env);
        assert_eq!(with("", &[("SRS_CONFIG_FILE", "e.conf")]), Ok(Action::Run(file("e.conf"))));
        assert_eq!(with("-c a.conf", &[("SRS_CONFIG_FILE", "e.conf")]), Ok(Action::Run(file("e.conf"))));
        let both = [("SRS_CONFIG_FILE", "e.conf"), ("SRS_ENV_ONLY", "")];
        assert_eq!(with("-t", &both), Ok(Action::Test(Source::EnvOnly)));
    }

    #[test]
    fn a_test_says_how_it_went() {
        let env = Environment::default();
        let (text, status) = test(&Source::BuiltIn, &env);
        assert_eq!((text.lines().count(), status), (2, 0));
        assert!(text.contains("syntax is ok") && text.contains("test is successful"));
        let (text, status) = test(&file("/nonexistent/x.conf"), &env);
        assert!(text.contains("no configuration file") && text.ends_with("test failed\n"));
        assert_eq!(status, REFUSED);
    }
}
