//! Looks for changes of the files, and keeps the last good ones.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_rustls::rustls::ServerConfig;

use super::TlsError;
use super::files::Files;
use crate::server::config::TlsSettings;
use crate::telemetry::with_sources;

/// How often the files are read. They are small, and an orchestrator may swap them in ways that no watch sees.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The configuration for the next handshake.
pub(crate) type Configs = watch::Receiver<Arc<ServerConfig>>;

/// The files of `tls.*`, which are read again when they change.
pub(crate) struct ReloadingTls {
    settings: TlsSettings,
    /// What was read last, whether it can be used or not.
    files: Result<Files, String>,
    configs: watch::Sender<Arc<ServerConfig>>,
    /// Received from the start on, so that no SIGHUP ends the process.
    hangup: Option<Signal>,
}

impl ReloadingTls {
    /// Reads the files. Blocks. Needs a tokio runtime with IO.
    ///
    /// # Errors
    ///
    /// They cannot be read or used.
    pub(crate) fn read(settings: TlsSettings) -> Result<Self, TlsError> {
        let files = Files::read(&settings)?;
        let configs = watch::Sender::new(Arc::new(files.config(&settings)?));
        let hangup = signal(SignalKind::hangup()).inspect_err(|error| {
            tracing::warn!(%error, "cannot install the handler of SIGHUP; changed files are read nevertheless");
        });
        Ok(Self { settings, files: Ok(files), configs, hangup: hangup.ok() })
    }

    pub(crate) fn configs(&self) -> Configs {
        self.configs.subscribe()
    }

    /// Reads the files again every second and at every SIGHUP, forever. New handshakes use what has changed; files that
    /// cannot be used are logged once and change nothing.
    pub(crate) async fn run(mut self) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(POLL_INTERVAL) => {}
                () = received(self.hangup.as_mut()) => tracing::info!("SIGHUP received; reading the files of tls.* again"),
            }
            let settings = self.settings.clone();
            let read = tokio::task::spawn_blocking(move || Files::read(&settings)).await;
            // The task ends early only when the runtime does.
            if let Ok(read) = read {
                self.take(read);
            }
        }
    }

    /// Uses what was read, if it is new and can be used.
    fn take(&mut self, read: Result<Files, TlsError>) {
        let files = read.map_err(|error| with_sources(&error));
        if files == self.files {
            return;
        }
        let config = files
            .clone()
            .and_then(|files| files.config(&self.settings).map_err(|error| with_sources(&error)));
        match config {
            Ok(config) => {
                self.configs.send_replace(Arc::new(config));
                tracing::info!("the files of tls.* have changed; new connections use them");
            }
            Err(error) => {
                tracing::error!(
                    error,
                    "cannot use the new files of tls.*; connections go on with the last good ones"
                );
            }
        }
        self.files = files;
    }
}

async fn received(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => pending().await,
    }
}
