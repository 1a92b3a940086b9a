//! The binary; everything it does is in the library.

use std::path::Path;
use std::process::ExitCode;

use tandem::app;
use tandem::cli::{self, Command};
use tandem::config;
use tandem::demo;
use tandem::drill;
use tandem::logging;
use tandem::operator;

fn main() -> ExitCode {
    match run(cli::parse()) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("tandem: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run { config } => {
            let config = config::load(config.as_deref().map(Path::new), std::env::vars_os())?;
            logging::init(&config.log)?;
            app::run(config)?;
        }
        Command::Config { config } => {
            let config = config::load(config.as_deref().map(Path::new), std::env::vars_os())?;
            print!("{}", config::render(&config));
        }
        Command::Demo(options) => return Ok(demo::run(options)?),
        Command::Drill(options) => return Ok(drill::run(&options)),
        Command::Ask { config, errand } => {
            let file = config.as_deref().map(Path::new);
            return Ok(match config::load_admin(file, std::env::vars_os()) {
                Ok(admin) => operator::run(&errand, &admin),
                Err(errors) => {
                    eprintln!("tandem: {errors}");
                    ExitCode::from(operator::UNANSWERED)
                }
            });
        }
    }
    Ok(ExitCode::SUCCESS)
}
