//! A report as text for people and as JSON for scripts.

use ledger_limiter::audit::{Law, Report};
use serde_json::{Value, json};

use super::moment;

/// A time of the ledger, in words.
pub(super) fn time(ns: u64) -> String {
    humantime::format_rfc3339_millis(moment(ns)).to_string()
}

pub(super) fn text(report: &Report) -> String {
    let mut lines: Vec<String> =
        report.findings.iter().map(|finding| format!("{} {finding}", time(finding.at_ns))).collect();
    let unshown = report.violations.saturating_sub(report.findings.len() as u64);
    if unshown > 0 {
        lines.push(format!("and {unshown} more violations"));
    }
    for (what, not_understood) in &report.not_understood {
        lines.push(format!(
            "not understood: {what}: {} transfers, the first is {:032x}",
            not_understood.count, not_understood.first
        ));
    }
    lines.push(format!(
        "{} transfers in {} chains until {}: {} limits, {} leases, {} accounts",
        report.transfers,
        report.chains,
        time(report.until_ns),
        report.limits,
        report.leases,
        report.accounts
    ));
    lines.push(match (report.violations, report.is_clean()) {
        (0, true) => format!("clean: all {} laws hold", Law::ALL.len()),
        (0, false) => "no violation in what was understood".to_owned(),
        (violations, _) => format!("VIOLATED: {violations} times"),
    });
    lines.join("\n")
}

pub(super) fn json(report: &Report) -> Value {
    let hex = |id: &u128| format!("{id:032x}");
    let findings = report.findings.iter().map(|finding| {
        json!({
            "law": finding.law.name(),
            "key": finding.key,
            "lease_id": finding.lease.map(|lease| ulid::Ulid(lease).to_string()),
            "transfers": finding.transfers.iter().map(hex).collect::<Vec<_>>(),
            "at": time(finding.at_ns),
            "sentence": finding.sentence,
        })
    });
    let not_understood = report
        .not_understood
        .iter()
        .map(|(what, of)| json!({ "what": what, "count": of.count, "first": hex(&of.first) }));
    json!({
        "clean": report.is_clean(),
        "violations": report.violations,
        "findings": findings.collect::<Vec<_>>(),
        "not_understood": not_understood.collect::<Vec<_>>(),
        "transfers": report.transfers,
        "chains": report.chains,
        "limits": report.limits,
        "leases": report.leases,
        "accounts": report.accounts,
        "until": time(report.until_ns),
    })
}
