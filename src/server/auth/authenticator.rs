//! Tells who makes a request, and follows the files of tokens and keys.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;

use super::credentials::{CredentialFiles, CredentialTexts, Credentials};
use super::jwt::JwtError;
use super::token::{TokenDigest, is_token};
use super::{Access, Caller, CredentialsError};
use crate::server::config::{AuthMode, AuthSettings};
use crate::server::tls::ClientIdentity;
use crate::telemetry::with_sources;

/// How often the files are read again. So soon a revoked token ends.
const RELOAD_INTERVAL: Duration = Duration::from_secs(1);

/// Tells who makes a request.
pub struct Authenticator(Mode);

enum Mode {
    /// Callers are not authenticated.
    Open {
        warning: Option<&'static str>,
    },
    Closed(Box<Closed>),
}

struct Closed {
    files: CredentialFiles,
    current: ArcSwap<Credentials>,
    /// What was read last, used or not, so that a bad file is logged once.
    last_read: Mutex<Result<CredentialTexts, String>>,
}

/// Why a request is not authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// It has no `Authorization` header of the scheme `Bearer`.
    #[error("send a token: Authorization: Bearer TOKEN")]
    Missing,
    /// It has several `Authorization` headers.
    #[error("send one Authorization header, not several")]
    Doubled,
    /// The service does not know the token.
    #[error("the token is not valid")]
    Invalid,
    /// The token has ended.
    #[error("the token has expired")]
    Expired,
}

impl Authenticator {
    /// Lets every caller do everything.
    pub fn open() -> Self {
        Self(Mode::Open { warning: None })
    }

    /// As the settings say: [`Authenticator::open`], or with the tokens and keys of the files.
    ///
    /// # Errors
    ///
    /// A file cannot be read or used.
    pub fn new(settings: &AuthSettings, is_exposed: bool) -> Result<Self, CredentialsError> {
        let is_open = match settings.mode {
            AuthMode::Auto => !settings.has_credentials() && !is_exposed,
            AuthMode::Tokens => false,
            AuthMode::None => true,
        };
        if is_open {
            let warning = "auth.mode is none: whoever reaches this address can change every limit";
            return Ok(Self(Mode::Open { warning: is_exposed.then_some(warning) }));
        }
        let files = CredentialFiles::of(settings);
        let texts = files.read()?;
        let credentials = files.parse(&texts)?;
        log_loaded(&credentials);
        let (current, last_read) = (ArcSwap::from_pointee(credentials), Mutex::new(Ok(texts)));
        Ok(Self(Mode::Closed(Box::new(Closed { files, current, last_read }))))
    }

    /// Why the way of authenticating is dangerous, if it is.
    pub fn warning(&self) -> Option<&'static str> {
        match &self.0 {
            Mode::Open { warning } => *warning,
            Mode::Closed(_) => None,
        }
    }

    /// Who makes the request with these headers, on a connection whose client showed this certificate. A token says more
    /// than the certificate, which a proxy may have for all of its clients.
    ///
    /// # Errors
    ///
    /// Nobody that the service knows ([`AuthError`]).
    pub fn authenticate(
        &self,
        headers: &HeaderMap,
        client: Option<&ClientIdentity>,
    ) -> Result<Caller, AuthError> {
        let Mode::Closed(closed) = &self.0 else { return Ok(Caller::Anyone) };
        let credentials = closed.current.load();
        if let Some(client) = client
            && !headers.contains_key(AUTHORIZATION)
        {
            return unless_expired(credentials.certificates.find(client).ok_or(AuthError::Missing)?);
        }
        let token = bearer_token(headers)?;
        if is_token(token) {
            return unless_expired(
                credentials.tokens.find(&TokenDigest::of(token)).ok_or(AuthError::Invalid)?,
            );
        }
        match credentials.jwt.verify(token) {
            Ok(access) => Ok(Caller::Known(Arc::new(access))),
            Err(JwtError::Expired) => Err(AuthError::Expired),
            Err(JwtError::Invalid) => Err(AuthError::Invalid),
        }
    }

    /// Takes over changes of the files, forever. A bad file changes nothing and is logged as an error.
    pub async fn follow_files(self: Arc<Self>) {
        loop {
            tokio::time::sleep(RELOAD_INTERVAL).await;
            let this = Arc::clone(&self);
            // A file may be on a slow disk. This fails only if the runtime stops.
            tokio::task::spawn_blocking(move || this.reload()).await.ok();
        }
    }

    /// Takes over changes of the files now. Blocks.
    pub fn reload(&self) {
        let Mode::Closed(closed) = &self.0 else { return };
        let texts = closed.files.read().map_err(|error| with_sources(&error));
        let mut last_read = closed.last_read.lock().unwrap_or_else(PoisonError::into_inner);
        if *last_read == texts {
            return;
        }
        match texts.as_ref().map(|texts| closed.files.parse(texts)) {
            Ok(Ok(credentials)) => {
                log_loaded(&credentials);
                closed.current.store(Arc::new(credentials));
            }
            Ok(Err(error)) => log_not_loaded(&with_sources(&error)),
            Err(error) => log_not_loaded(error),
        }
        *last_read = texts;
    }
}

/// The holder of an access that has not ended.
fn unless_expired(access: &Arc<Access>) -> Result<Caller, AuthError> {
    if access.is_expired(SystemTime::now()) {
        return Err(AuthError::Expired);
    }
    Ok(Caller::Known(Arc::clone(access)))
}

fn log_loaded(credentials: &Credentials) {
    let (tokens, jwt_keys) = (credentials.tokens.len(), credentials.jwt.len());
    let certificates = credentials.certificates.len();
    tracing::info!(tokens, certificates, jwt_keys, "the tokens are loaded");
    if tokens == 0 && certificates == 0 && jwt_keys == 0 {
        tracing::warn!("there is no token; every request but those for health is refused");
    }
}

fn log_not_loaded(error: &str) {
    tracing::error!(error, "the tokens are not loaded; those of before stay valid");
}

/// The token in the `Authorization` header.
fn bearer_token(headers: &HeaderMap) -> Result<&[u8], AuthError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(AuthError::Missing)?.as_bytes();
    if values.next().is_some() {
        return Err(AuthError::Doubled);
    }
    let scheme_end = value.iter().position(|byte| *byte == b' ').unwrap_or(value.len());
    let (scheme, token) = value.split_at(scheme_end);
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return Err(AuthError::Missing);
    }
    Ok(token.trim_ascii_start())
}
