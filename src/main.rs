//! The binary; everything it does is in the library.

use std::path::Path;
use std::process::ExitCode;

use tandem::cli::{self, Command};
use tandem::{app, config, logging};

fn main() -> ExitCode {
    match run(cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tandem: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Run { config } => {
            let config = config::load(config.as_deref().map(Path::new), std::env::vars_os())?;
            logging::init(&config.log)?;
            Ok(app::run(config)?)
        }
        Command::Config { config } => {
            let config = config::load(config.as_deref().map(Path::new), std::env::vars_os())?;
            print!("{}", config::render(&config));
            Ok(())
        }
        Command::Demo(_) => anyhow::bail!("wait"),
    }
}
