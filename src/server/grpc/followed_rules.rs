//! The file of rules, read again when it changes.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};

use super::rules::Rules;
use crate::telemetry::with_sources;

/// How often the file is read again.
const RELOAD_INTERVAL: Duration = Duration::from_secs(1);

/// The rules in force.
pub struct FollowedRules {
    path: PathBuf,
    current: ArcSwap<Rules>,
    /// What was read last, used or not, so that a bad file is logged once.
    last_read: Mutex<Result<String, String>>,
}

/// Why the rules cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RulesError {
    /// The file cannot be read.
    #[error("cannot read {path} (gateway.rules)")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The file can be read, but not used.
    #[error("{path} (gateway.rules): {message}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
}

impl FollowedRules {
    /// Reads the file.
    ///
    /// # Errors
    ///
    /// It cannot be read or used.
    pub fn read(path: &Path) -> Result<Self, RulesError> {
        let text = read(path)?;
        let rules = parse(path, &text)?;
        log_loaded(&rules);
        let (current, last_read) = (ArcSwap::from_pointee(rules), Mutex::new(Ok(text)));
        Ok(Self { path: path.to_owned(), current, last_read })
    }

    pub(super) fn load(&self) -> Guard<Arc<Rules>> {
        self.current.load()
    }

    /// Takes over changes of the file, forever. A bad file changes nothing and is logged as an error.
    pub async fn follow(self: Arc<Self>) {
        loop {
            tokio::time::sleep(RELOAD_INTERVAL).await;
            let this = Arc::clone(&self);
            // The file may be on a slow disk. This fails only if the runtime stops.
            tokio::task::spawn_blocking(move || this.reload()).await.ok();
        }
    }

    /// Takes over a change of the file now. Blocks.
    pub fn reload(&self) {
        let text = read(&self.path).map_err(|error| with_sources(&error));
        let mut last_read = self.last_read.lock().unwrap_or_else(PoisonError::into_inner);
        if *last_read == text {
            return;
        }
        let rules = text.clone().and_then(|text| parse(&self.path, &text).map_err(|error| error.to_string()));
        match rules {
            Ok(rules) => {
                log_loaded(&rules);
                self.current.store(Arc::new(rules));
            }
            Err(error) => {
                tracing::error!(error, "the gateway rules are not loaded; those of before stay valid");
            }
        }
        *last_read = text;
    }
}

fn read(path: &Path) -> Result<String, RulesError> {
    std::fs::read_to_string(path).map_err(|source| RulesError::Read { path: path.to_owned(), source })
}

fn parse(path: &Path, text: &str) -> Result<Rules, RulesError> {
    Rules::parse(text).map_err(|message| RulesError::Content { path: path.to_owned(), message })
}

fn log_loaded(rules: &Rules) {
    tracing::info!(rules = rules.count(), "the gateway rules are loaded");
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "[[rule]]\ndomain = 'd'\nentries = [{ key = 'a' }]\nlimit = 'x'\n";

    #[test]
    fn a_changed_file_replaces_the_rules_and_a_bad_one_does_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("rules.toml");
        let write = |text: &str| std::fs::write(&path, text).expect("it is written");
        write(ONE);
        let rules = FollowedRules::read(&path).expect("valid rules");
        for (text, count) in [
            (format!("{ONE}{}", ONE.replace("'a'", "'b'")), 2),
            ("rule = 1".to_owned(), 2),
            ("rule = []".to_owned(), 0),
            (ONE.to_owned(), 1),
        ] {
            write(&text);
            rules.reload();
            assert_eq!(rules.load().count(), count, "{text}");
        }
        std::fs::remove_file(&path).expect("it is removed");
        rules.reload();
        assert_eq!(rules.load().count(), 1);
        let error = FollowedRules::read(&path).map(drop).expect_err("there is no file");
        assert!(error.to_string().contains("(gateway.rules)"), "{error}");
    }
}
