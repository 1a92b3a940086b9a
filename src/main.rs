//! The binary; everything it does is in the library.

use std::path::Path;
use std::process::ExitCode;

use tandem::app;
use tandem::cli::{self, CheckOptions, Command, SetupOptions, SetupShape};
use tandem::config::{self, Administrators, Terminal};
use tandem::demo;
use tandem::drill;
use tandem::logging;
use tandem::operator;
use tandem::pair::{self, Shape, setup};

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
        Command::Setup(options) => return Ok(set_up(options)),
        Command::Demo(options) => return Ok(demo::run(options)?),
        Command::Drill(options) => return Ok(drill::run(&options)),
        Command::Check(options) => return Ok(check(options)),
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

/// Whoever has made a mistake in the configuration has not checked anything.
fn check(options: CheckOptions) -> ExitCode {
    let file = options.config.as_deref().map(Path::new);
    let read = config::load(file, std::env::vars_os()).and_then(|config| {
        let administrators = Administrators::read(&config.servers, std::env::vars_os())?;
        Ok((config, administrators))
    });
    match read {
        Ok((config, administrators)) => {
            let wanted = pair::check::Errand { json: options.json, write_test: options.write_test };
            pair::check::run(config, administrators, wanted)
        }
        Err(errors) => {
            eprintln!("tandem: {errors}");
            ExitCode::from(pair::check::COULD_NOT)
        }
    }
}

/// Who sets servers up is asked for before anything is looked at.
fn set_up(options: SetupOptions) -> ExitCode {
    let file = options.config.as_deref().map(Path::new);
    let wishes = setup::Wishes {
        apply: options.apply,
        semi_sync: options.semi_sync,
        copy_from: options.copy_from,
        shape: options.shape.map(|shape| match shape {
            SetupShape::Ring => Shape::Ring,
            SetupShape::Mesh => Shape::Mesh,
        }),
        room_for: options.room_for,
    };
    let ready =
        config::load(file, std::env::vars_os()).map_err(anyhow::Error::from).and_then(|config| {
            let mut administrators = Administrators::read(&config.servers, std::env::vars_os())?;
            administrators.ask(&config.servers, &mut Terminal)?;
            Ok((config, administrators))
        });
    match ready {
        Ok((config, administrators)) => {
            ExitCode::from(setup::run(&wishes, &config, &administrators))
        }
        Err(error) => {
            eprintln!("tandem: {error}");
            ExitCode::from(setup::Ended::Unreached.status())
        }
    }
}
