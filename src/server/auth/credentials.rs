//! The files of tokens and keys, read and checked together.

use std::io;
use std::path::{Path, PathBuf};

use super::certificate_file::CertificateTable;
use super::jwt::JwtKeys;
use super::token_file;
use super::token_table::TokenTable;
use crate::server::config::{AuthSettings, JwtSettings};

/// The longest file, in bytes. A file of 100,000 tokens has some 20 MB.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Where the tokens and keys are.
#[derive(Debug, Clone)]
pub(super) struct CredentialFiles {
    /// A file, or a folder of files whose names end in `.toml`.
    tokens: Option<PathBuf>,
    certificates: Option<PathBuf>,
    jwks: Option<PathBuf>,
    public_key: Option<PathBuf>,
    secret: Option<PathBuf>,
    jwt: JwtSettings,
}

/// The texts of the files at one moment.
#[derive(PartialEq, Eq)]
pub(super) struct CredentialTexts {
    tokens: Vec<(PathBuf, String)>,
    certificates: Option<String>,
    jwks: Option<String>,
    public_key: Option<String>,
    secret: Option<String>,
}

/// What callers can authenticate with.
pub(super) struct Credentials {
    pub(super) tokens: TokenTable,
    pub(super) certificates: CertificateTable,
    pub(super) jwt: JwtKeys,
}

/// Why the tokens and keys cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// A file cannot be read.
    #[error("cannot read {path} ({setting})")]
    Read {
        /// The file.
        path: PathBuf,
        /// The setting that names it.
        setting: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A file can be read, but not used.
    #[error("{path} ({setting}): {message}")]
    Content {
        /// The file or folder.
        path: PathBuf,
        /// The setting that names it.
        setting: &'static str,
        /// What is wrong. It shows nothing of a secret.
        message: String,
    },
}

const TOKENS: &str = "auth.tokens_path";
const CERTIFICATES: &str = "auth.certificates_path";
const JWKS: &str = "auth.jwt.jwks_path";
const PUBLIC_KEY: &str = "auth.jwt.public_key_path";
const SECRET: &str = "auth.jwt.secret_path";

impl CredentialFiles {
    pub(super) fn of(settings: &AuthSettings) -> Self {
        let path = |path: &PathBuf| (!path.as_os_str().is_empty()).then(|| path.clone());
        Self {
            tokens: path(&settings.tokens_path),
            certificates: path(&settings.certificates_path),
            jwks: path(&settings.jwt.jwks_path),
            public_key: path(&settings.jwt.public_key_path),
            secret: path(&settings.jwt.secret_path),
            jwt: settings.jwt.clone(),
        }
    }

    /// Reads every file. Blocks.
    pub(super) fn read(&self) -> Result<CredentialTexts, CredentialsError> {
        let one = |path: &Option<PathBuf>, setting| {
            path.as_deref().map(|path| read_file(path, setting)).transpose()
        };
        Ok(CredentialTexts {
            tokens: self.tokens.as_deref().map_or(Ok(Vec::new()), read_tokens)?,
            certificates: one(&self.certificates, CERTIFICATES)?,
            jwks: one(&self.jwks, JWKS)?,
            public_key: one(&self.public_key, PUBLIC_KEY)?,
            secret: one(&self.secret, SECRET)?,
        })
    }

    /// Makes tokens and keys of the texts.
    pub(super) fn parse(&self, texts: &CredentialTexts) -> Result<Credentials, CredentialsError> {
        let content = |path: &Option<PathBuf>, setting| {
            let path = path.clone().unwrap_or_default();
            move |message| CredentialsError::Content { path, setting, message }
        };
        let mut jwt = JwtKeys::none();
        if let Some(text) = &texts.jwks {
            jwt.add_jwks(text, &self.jwt).map_err(content(&self.jwks, JWKS))?;
        }
        if let Some(text) = &texts.public_key {
            jwt.add_public_key(text, &self.jwt).map_err(content(&self.public_key, PUBLIC_KEY))?;
        }
        if let Some(text) = &texts.secret {
            jwt.add_secret(text, &self.jwt).map_err(content(&self.secret, SECRET))?;
        }
        let tokens = texts.tokens.iter().map(|(path, text)| (path.as_path(), text.as_str()));
        let tokens = token_file::parse_files(tokens).map_err(|(path, message)| {
            CredentialsError::Content { path: path.to_owned(), setting: TOKENS, message }
        })?;
        let certificates = texts.certificates.as_deref().map(CertificateTable::parse).transpose();
        let certificates =
            certificates.map_err(content(&self.certificates, CERTIFICATES))?.unwrap_or_default();
        Ok(Credentials { tokens, certificates, jwt })
    }
}

fn read_file(path: &Path, setting: &'static str) -> Result<String, CredentialsError> {
    let error = |source| CredentialsError::Read { path: path.to_owned(), setting, source };
    let bytes = std::fs::metadata(path).map_err(error)?.len();
    if bytes > FILE_BYTES_MAX {
        let message = format!("must be at most {FILE_BYTES_MAX} bytes long, not {bytes}");
        return Err(CredentialsError::Content { path: path.to_owned(), setting, message });
    }
    std::fs::read_to_string(path).map_err(error)
}

/// Reads a file of tokens, or those of a folder in the order of their names.
fn read_tokens(path: &Path) -> Result<Vec<(PathBuf, String)>, CredentialsError> {
    let error = |source| CredentialsError::Read { path: path.to_owned(), setting: TOKENS, source };
    let mut files = if std::fs::metadata(path).map_err(error)?.is_dir() {
        let entries = std::fs::read_dir(path).map_err(error)?;
        let files: Result<Vec<_>, _> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
        files.map_err(error)?
    } else {
        return Ok(vec![(path.to_owned(), read_file(path, TOKENS)?)]);
    };
    files.retain(|file| {
        let is_hidden = file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        !is_hidden && file.extension().is_some_and(|extension| extension == "toml")
    });
    files.sort_unstable();
    if files.is_empty() {
        let message = "the folder holds no file whose name ends in .toml".to_owned();
        return Err(CredentialsError::Content { path: path.to_owned(), setting: TOKENS, message });
    }
    files.into_iter().map(|file| read_file(&file, TOKENS).map(|text| (file, text))).collect()
}
