//! TLS: the certificate of the service and the authorities of its clients, read again when they change.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `files` | the PEM files, and what rustls makes of them |
//! | `reload` | looks for changes, and keeps the last good files |

mod files;
mod reload;

pub use files::TlsError;
pub(crate) use reload::{Configs, ReloadingTls};
