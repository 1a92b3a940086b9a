//! The layers, merged: file below environment. The only file that names figment.
//!
//! figment merges and remembers which layer a value came from. It is not asked to build the structs:
//! its extraction stops at the first mistake, and names neither lines nor variables.

use std::ffi::OsString;
use std::path::Path;

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map};
use figment::{Figment, Metadata, Profile, Provider};
use serde_json::Value;

use super::administrators::SETUP;
use super::file::{self, File};
use super::keys::{self, Form, Key};
use super::read::Reader;
use super::{Admin, Config, ConfigError, ConfigErrors, Place, check};

/// The file that is read when none is named.
pub const DEFAULT_FILE: &str = "proxy.toml";

/// Reads the configuration: `file`, or [`DEFAULT_FILE`] if there is one; over it the variables of
/// `environment` that begin with `TANDEM_`.
///
/// # Errors
/// Every mistake that was found, in the order of the file, then the variables.
pub fn load(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Config, ConfigErrors> {
    let path = file.unwrap_or_else(|| Path::new(DEFAULT_FILE));
    let file = File::read(path, file.is_some()).map_err(|error| ConfigErrors(vec![error]))?;
    let (variables, mut problems) = variables(environment);
    let merged = Merged::new(file, variables).map_err(|error| ConfigErrors(vec![error]))?;
    if let Some(file) = &merged.file {
        problems.extend(file.check_keys());
    }
    let mut reader = Reader::new(&merged);
    let config = reader.config(path);
    problems.extend(reader.into_problems());
    if let Some(config) = &config {
        problems.extend(check::check(config));
    }
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => {
            problems.sort_by_key(ConfigError::place);
            Err(ConfigErrors(problems))
        }
    }
}

/// Reads `[admin]` alone, from the same places: what is needed to ask a running proxy. Whoever asks need
/// not be able to read the secrets of the other sections, and what is wrong there is not his business.
///
/// # Errors
/// Every mistake in the section, and whatever keeps the file from being read at all.
pub fn load_admin(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Admin, ConfigErrors> {
    let path = file.unwrap_or_else(|| Path::new(DEFAULT_FILE));
    let file = File::read(path, file.is_some()).map_err(|error| ConfigErrors(vec![error]))?;
    let ours =
        |name: &OsString| name.to_str().is_some_and(|name| name.starts_with("TANDEM_ADMIN_"));
    let (variables, mut problems) =
        variables(environment.into_iter().filter(|(name, _)| ours(name)));
    let merged = Merged::new(file, variables).map_err(|error| ConfigErrors(vec![error]))?;
    if let Some(file) = &merged.file {
        let of_section = |error: &ConfigError| matches!(error, ConfigError::UnknownKey { key, .. } if key.starts_with("admin."));
        problems.extend(file.check_keys().into_iter().filter(of_section));
    }
    let mut reader = Reader::new(&merged);
    let admin = reader.admin(Admin::default());
    problems.extend(reader.into_problems());
    if problems.is_empty() {
        return Ok(admin);
    }
    problems.sort_by_key(ConfigError::place);
    Err(ConfigErrors(problems))
}

/// Both layers.
#[derive(Debug)]
pub(super) struct Merged {
    figment: Figment,
    file: Option<File>,
}

impl Merged {
    fn new(file: Option<File>, variables: Vec<Variable>) -> Result<Self, ConfigError> {
        let mut figment = Figment::new();
        if let Some(file) = &file {
            figment = figment.merge(Toml::string(&file.text));
        }
        for variable in variables {
            figment = figment.merge(variable);
        }
        // Whatever toml_edit takes and figment's own parser does not.
        if let Err(error) = figment.extract::<Dict>() {
            let place = file.as_ref().map_or(Place::Default, |file| file.place(""));
            return Err(ConfigError::Syntax { place, reason: error.to_string() });
        }
        Ok(Self { figment, file })
    }

    /// The value of `key`, if some layer has one.
    pub(super) fn value(&self, key: &str) -> Option<Value> {
        self.figment.extract_inner(key).ok()
    }

    /// What set `key`, or the part `detail` of it (`masters`, `masters[1].name`).
    pub(super) fn place(&self, key: &str, detail: &str) -> Place {
        let Some(metadata) = self.figment.find_metadata(key) else {
            return Place::Default;
        };
        match (metadata.source.as_ref().and_then(figment::Source::custom), &self.file) {
            (Some(variable), _) => Place::Variable(variable.into()),
            (None, Some(file)) => file.place(detail),
            (None, None) => Place::Default,
        }
    }
}

/// An environment variable that sets a key: a layer of its own, so that figment remembers it.
struct Variable {
    name: String,
    /// `section.key = value`
    toml: String,
}

impl Provider for Variable {
    fn metadata(&self) -> Metadata {
        Metadata::named("environment").source(figment::Source::Custom(self.name.clone()))
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Toml::string(&self.toml).data()
    }
}

/// The variables that are ours, and what is wrong with them.
fn variables(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> (Vec<Variable>, Vec<ConfigError>) {
    let (mut variables, mut problems) = (Vec::new(), Vec::new());
    for (name, text) in environment {
        let ours = |name: &&str| name.starts_with("TANDEM_") && !name.starts_with(SETUP);
        let Some(name) = name.to_str().filter(ours) else {
            continue;
        };
        match variable(name, text) {
            Ok(variable) => variables.extend(variable),
            Err(error) => problems.push(error),
        }
    }
    (variables, problems)
}

fn variable(name: &str, text: OsString) -> Result<Option<Variable>, ConfigError> {
    let place = Place::Variable(name.into());
    let Some(key) = keys::KEYS.iter().find(|key| key.variable() == name) else {
        return unknown_variable(name, place).map_or(Ok(None), Err);
    };
    let Ok(text) = text.into_string() else {
        return Err(ConfigError::BadValue {
            place,
            key: key.path.to_owned(),
            expected: "UTF-8".to_owned(),
            found: "other bytes".to_owned(),
        });
    };
    let value = variable_value(key, &text).map_err(|reason| ConfigError::BadValue {
        place,
        key: key.path.to_owned(),
        expected: "a TOML value".to_owned(),
        found: format!("`{text}` ({reason})"),
    })?;
    let toml = format!("{} = {value}", key.path);
    Ok(Some(Variable { name: name.to_owned(), toml }))
}

/// The text of a variable as a TOML value.
fn variable_value(key: &Key, text: &str) -> Result<String, String> {
    let quoted = || toml_edit::Value::from(text).to_string();
    if key.form == Form::Text {
        return Ok(quoted());
    }
    match text.trim().parse::<toml_edit::Value>() {
        Ok(value) => Ok(file::plain(&value)),
        Err(error) if text.trim_start().starts_with(['[', '{', '"', '\'']) => {
            Err(error.message().trim().to_owned())
        }
        Err(_) => Ok(quoted()),
    }
}

/// A variable that is no key. One without `__` may be somebody else's: Kubernetes gives every pod
/// beside a service named `tandem` a `TANDEM_PORT` and a `TANDEM_SERVICE_HOST`. It is only an error if
/// it looks like one of ours.
fn unknown_variable(name: &str, place: Place) -> Option<ConfigError> {
    let ours = keys::KEYS.iter().map(|key| (key.variable(), key));
    let key = name.trim_start_matches("TANDEM_").replace("__", ".").to_lowercase();
    let nearest = ours
        .clone()
        .find(|(variable, _)| variable.replace("__", "_") == name.replace("__", "_"))
        .map(|(variable, _)| variable)
        .or_else(|| {
            let like = keys::nearest(&key)?;
            ours.clone().find(|(_, key)| key.path == like).map(|(variable, _)| variable)
        });
    if nearest.is_none() && !name.contains("__") {
        return None;
    }
    Some(ConfigError::UnknownKey { place, key: name.to_owned(), nearest })
}
