//! Loads the settings: finds the file, has every section read and every check made, and lists all
//! mistakes at once (docs/contract.md, section 10).

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret;

use super::checks;
use super::reader::{ConfigErrors, Reader, Shown};
use super::sections::{self, FoundApi};
use super::settings::{Api, Settings};

/// Settings and where they came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// The file that was read.
    pub file: Option<PathBuf>,
    /// Every setting with its origin, for showing.
    pub shown: Vec<Shown>,
    /// What is wrong for those only that call the API.
    missing: Vec<String>,
}

/// Where settings come from.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// The file's name and text.
    pub file: Option<(PathBuf, String)>,
    /// The environment.
    pub environment: Vec<(String, String)>,
}

impl Settings {
    /// Loads from `--config`, else `REELQ_CONFIG`, else `./config/reelq.toml`, else
    /// `/etc/reelq/reelq.toml`, else defaults; the environment goes before the file.
    ///
    /// # Errors
    /// Every mistake at once.
    pub fn load(explicit: Option<&Path>) -> Result<Loaded, ConfigErrors> {
        let named = explicit
            .map(|path| path.as_os_str().to_owned())
            .or_else(|| std::env::var_os("REELQ_CONFIG"))
            .filter(|path: &OsString| !path.is_empty());
        let path = match named {
            Some(path) => Some(PathBuf::from(path)),
            None => ["config/reelq.toml", "/etc/reelq/reelq.toml"]
                .into_iter()
                .map(PathBuf::from)
                .find(|path| path.exists()),
        };
        let file = match path {
            None => None,
            Some(path) => match std::fs::read_to_string(&path) {
                Ok(text) => Some((path, text)),
                Err(error) => {
                    return Err(ConfigErrors(vec![format!("{}: {error}", path.display())]));
                }
            },
        };
        let text = |it: OsString| it.into_string().ok();
        let environment =
            std::env::vars_os().filter_map(|(name, it)| Some((text(name)?, text(it)?)));
        Self::from_source(Source { file, environment: environment.collect() })
    }

    /// Loads from what is given and nothing else.
    ///
    /// # Errors
    /// Every mistake at once.
    pub fn from_source(source: Source) -> Result<Loaded, ConfigErrors> {
        let (file, text) = source.file.unzip();
        let name = file.as_ref().map_or("the file".to_owned(), |path| path.display().to_string());
        let mut read = Reader::new(&name, text.as_deref().unwrap_or(""), source.environment);
        if !read.errors.is_empty() {
            return Err(ConfigErrors(read.errors));
        }
        let (redis, queue) = (sections::redis(&mut read), sections::queue(&mut read));
        let FoundApi { api, request_timeout, mut missing } = sections::api(&mut read);
        let settings = Self {
            redis,
            queue,
            api,
            submit: sections::submit(&mut read),
            poll: sections::poll(&mut read),
            worker: sections::worker(&mut read),
            http: sections::http(&mut read),
            gateway: sections::gateway(&mut read),
            webhook: sections::webhook(&mut read),
            log: sections::log(&mut read),
        };
        read.note_unknown();
        read.errors.extend(checks::access(&settings));
        let times = checks::times(&settings, request_timeout);
        if settings.api.is_some() {
            read.errors.extend(times);
        } else {
            missing.extend(times);
        }
        if read.errors.is_empty() {
            return Ok(Loaded { settings, file, shown: read.shown, missing });
        }
        read.errors.extend(missing);
        Err(ConfigErrors(read.errors))
    }
}

impl Loaded {
    /// That the gateway's secrets can be read now.
    ///
    /// # Errors
    /// Every one that cannot.
    pub fn check_gateway(&self) -> Result<(), ConfigErrors> {
        let Settings { gateway, webhook, .. } = &self.settings;
        let keys = gateway.api_keys.as_ref().and_then(|it| it.read().err());
        let secret = webhook.secret.as_ref().and_then(|it| match it.read() {
            Ok(text) if text.expose_secret().trim().is_empty() => Some(empty()),
            other => other.err(),
        });
        let mistakes: Vec<String> =
            [("gateway.api_keys_file", keys), ("webhook.secret_file", secret)]
                .into_iter()
                .filter_map(|(key, error)| Some(format!("{key}: {}", error?)))
                .collect();
        if mistakes.is_empty() { Ok(()) } else { Err(ConfigErrors(mistakes)) }
    }

    /// The settings of the API, which only those need that call it.
    ///
    /// # Errors
    /// Every setting that is missing, and every secret that cannot be read.
    pub fn api(&self) -> Result<&Api, ConfigErrors> {
        match &self.settings.api {
            Some(api) if self.missing.is_empty() => Ok(api),
            _ => {
                let mut mistakes = self.missing.clone();
                if self.file.is_none() {
                    mistakes.push("(no configuration file was found; see --config)".to_owned());
                }
                Err(ConfigErrors(mistakes))
            }
        }
    }
}

fn empty() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "holds nothing")
}
