//! The binary: arguments and environment to configuration to a running server.

use std::process::ExitCode;

use server::cli::{self, Action};
use server::config::{Config, Environment};

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if let Some(status) = server::become_task(std::env::args_os()) {
        return status;
    }
    let env = Environment::of_process();
    let action = match cli::parse(std::env::args_os(), &env) {
        Ok(action) => action,
        Err(refused) => {
            eprintln!("{refused}");
            return ExitCode::from(cli::REFUSED);
        }
    };
    match action {
        Action::Print(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Action::Test(source) => said(cli::test(&source, &env)),
        Action::Check(source) => said(server::check(&source, &env)),
        Action::Status(source) => said(server::status(&source, &env)),
        Action::Upgrade(source) => said(server::upgrade(&source, &env)),
        Action::Reload { source, dry } => said(server::reload(&source, &env, dry)),
        Action::Run(source) => match Config::load(&source, &env) {
            Ok(config) => server::run(config, source, env),
            Err(error) => {
                eprintln!("{error}");
                ExitCode::from(error.exit_status())
            }
        },
    }
}

fn said((text, status): (String, u8)) -> ExitCode {
    print!("{text}");
    ExitCode::from(status)
}
