//! How many connections the limit on open files allows.

/// File descriptors for all else: the log, the registry file, the ledger's sockets, the runtime.
const RESERVED: usize = 128;
/// How many of the connections belong to the admin listener, if there is one.
const ADMIN_CONNECTIONS_MAX: usize = 256;
/// Assumed if the limit cannot be read.
const LIMIT_UNKNOWN: u64 = 1_024;

/// The most connections of each listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConnectionsMax {
    pub(crate) main: usize,
    pub(crate) admin: usize,
}

/// Raises the limit on open files as far as it may, and divides what it allows.
pub(crate) fn connections_max(wanted: usize, has_admin_listener: bool) -> ConnectionsMax {
    let limit = rlimit::increase_nofile_limit(u64::MAX).unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot read or raise the limit on open files");
        LIMIT_UNKNOWN
    });
    let max = divide(usize::try_from(limit).unwrap_or(usize::MAX), wanted, has_admin_listener);
    if max.main < wanted {
        tracing::warn!(
            limit,
            connections_max = max.main,
            "fewer connections than connections.max: raise the limit on open files (ulimit -n)"
        );
    }
    max
}

fn divide(limit: usize, wanted: usize, has_admin_listener: bool) -> ConnectionsMax {
    let allowed = limit.saturating_sub(RESERVED).max(limit / 2);
    let admin = if has_admin_listener { ADMIN_CONNECTIONS_MAX.min(allowed / 4) } else { 0 };
    ConnectionsMax { main: wanted.min(allowed - admin), admin }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_on_open_files_bounds_the_connections() {
        for (limit, wanted, has_admin_listener, main, admin) in [
            (20_000, 8_192, false, 8_192, 0),
            (20_000, 8_192, true, 8_192, 256),
            (1_024, 8_192, false, 896, 0),
            (1_024, 8_192, true, 672, 224),
            (64, 8_192, false, 32, 0),
            (64, 8_192, true, 24, 8),
        ] {
            let expected = ConnectionsMax { main, admin };
            assert_eq!(divide(limit, wanted, has_admin_listener), expected, "{limit} {has_admin_listener}");
        }
    }
}
