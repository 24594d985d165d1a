//! Files of tokens for the tests of access.

use std::path::PathBuf;

use ledger_limiter::server::auth::{Authenticator, NewToken, Scope};
use ledger_limiter::server::config::AuthSettings;
use ledger_limiter::server::{AllowedHosts, AuditLog};
use tempfile::TempDir;

use super::*;

/// A file of tokens in a folder that is removed with it.
pub struct TokenFile {
    folder: TempDir,
}

impl TokenFile {
    pub fn new() -> Self {
        let file = Self { folder: tempfile::tempdir().expect("a folder") };
        file.write("token = []");
        file
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("tokens.toml")
    }

    pub fn write(&self, text: &str) {
        std::fs::write(self.path(), text).expect("it is written");
    }

    /// Makes a token and adds it to the file. No patterns allow every key.
    pub fn add(&self, name: &str, scopes: &[Scope], keys: &[&str]) -> String {
        let new = NewToken {
            name: name.to_owned(),
            scopes: scopes.to_vec(),
            keys: keys.iter().map(|key| (*key).to_owned()).collect(),
            expires_after: None,
        };
        let (token, entry) = new.make().expect("a token");
        if std::fs::read_to_string(self.path()).expect("the file") == "token = []" {
            std::fs::remove_file(self.path()).expect("it is removed");
        }
        entry.append_to(&self.path()).expect("it is added");
        token.reveal().to_owned()
    }

    pub fn authenticator(&self) -> Arc<Authenticator> {
        let settings = AuthSettings { tokens_path: self.path(), ..AuthSettings::default() };
        Arc::new(Authenticator::new(&settings, true).expect("the file is valid"))
    }

    /// A service that knows the tokens of the file.
    pub(super) async fn service(&self) -> Service {
        self.audited_service(AuditLog::to_log()).await
    }

    /// The same, with this audit log.
    pub(super) async fn audited_service(&self, audit: AuditLog) -> Service {
        let allowed_hosts = AllowedHosts::new(&[]).expect("no names");
        Service::behind(Gate { authenticator: self.authenticator(), allowed_hosts, audit }, true).await
    }
}
