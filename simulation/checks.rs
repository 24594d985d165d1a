//! What must hold of a run that has ended: the audit, linearizability, and that everything has come to rest.

use futures_util::FutureExt;
use ledger_limiter::audit::audit;
use ledger_limiter::engine::{Engine, EngineOptions};
use ledger_limiter::limit::Status;
use ledger_limiter::registry::LimitUsage;
use std::sync::Arc;

use crate::holds::{Hold, peak};
use crate::limits::{Role, STRICT_SECONDS};
use crate::linearizability::{Verdict, check};
use crate::process::{ClockSkew, Process};
use crate::replica::Replica;
use crate::world::World;

const LEDGER_NUMBER: u32 = 1;
const STRICT_MS: u64 = STRICT_SECONDS * 1_000;

/// Everything that is wrong.
pub(crate) fn violations(world: &mut World) -> Vec<String> {
    let mut violations = world.history.violations();
    if !world.callers.are_done() {
        violations.push("a caller has no answer long after all faults have ended".to_owned());
    }
    let waiters: usize = world.replicas.iter().flatten().map(Replica::waiters).sum();
    if waiters > 0 {
        violations.push(format!("{waiters} requests still wait"));
    }
    violations.extend(audit_findings(world));
    violations.extend(unordered_histories(world));
    violations.extend(overfull_limits(world));
    violations.extend(restless_limits(world));
    violations
}

fn audit_findings(world: &World) -> Vec<String> {
    let audited = audit(&*world.cluster.ledger, LEDGER_NUMBER, |_| {}).now_or_never();
    let report = audited.expect("the memory ledger answers at once").expect("the memory ledger answers");
    let findings = report.findings.iter().map(|finding| format!("audit: {finding}"));
    findings.chain((!report.is_clean()).then(|| format!("audit: {:?}", report.not_understood))).collect()
}

fn unordered_histories(world: &World) -> Vec<String> {
    let mut violations = Vec::new();
    for (key, operations) in world.history.operations() {
        let capacity = capacity_of(world, &key);
        match check(capacity, &operations) {
            Verdict::Linearizable => world.history.count("linearizable histories"),
            Verdict::Unknown => world.history.count("histories whose check was given up"),
            Verdict::NotLinearizable => violations.push(format!(
                "the {} operations on {key}, capacity {capacity}, have no order",
                operations.len()
            )),
        }
    }
    violations
}

/// Limits of which callers held more than there is.
fn overfull_limits(world: &World) -> Vec<String> {
    let overfull = |(key, holds): (String, Vec<Hold>)| {
        let (held, capacity) = (peak(&holds), capacity_of(world, &key));
        (held > capacity).then(|| format!("callers held {held} of {key}, capacity {capacity}"))
    };
    world.history.holds().into_iter().filter_map(overfull).collect()
}

fn capacity_of(world: &World, key: &str) -> u64 {
    let planned = world.swarm.limits.iter().find(|planned| planned.definition.key.as_str() == key);
    planned.expect("a limit of the run").definition.capacity.get()
}

/// Limits of which anything is still held, or that are not what they were defined as.
fn restless_limits(world: &World) -> Vec<String> {
    // What is reserved of a strict limit expires only now. That needs no replica.
    let now_ms = world.now_ms + STRICT_MS;
    world.cluster.set_clock(now_ms);
    let process = Process::start(now_ms, ClockSkew::default());
    let (sender, receiver) = std::sync::mpsc::channel();
    let ledger = Arc::clone(&world.cluster.ledger);
    process.spawn(async move {
        let engine = Engine::new(ledger, EngineOptions::default().with_ledger_number(LEDGER_NUMBER));
        engine.bootstrap(&[]).await.expect("the memory ledger answers");
        let usages = engine.admin().list().await.expect("the memory ledger answers");
        sender.send(usages).expect("the check waits for it");
    });
    process.step_to(now_ms + 1);
    let usages = receiver.try_recv().expect("the memory ledger answers at once");
    let mut violations: Vec<String> = usages.iter().filter_map(|usage| restless(world, usage)).collect();
    if usages.len() != world.swarm.limits.len() {
        violations.push(format!("{} of {} limits are left", usages.len(), world.swarm.limits.len()));
    }
    violations
}

fn restless(world: &World, usage: &LimitUsage) -> Option<String> {
    let planned = world.swarm.limits.iter().find(|planned| planned.definition.key == *usage.key())?;
    let defined = match planned.role {
        Role::Template { .. } => planned.definition.instances_max?.get(),
        Role::Strict | Role::Plain | Role::Changes | Role::Delegated => planned.definition.capacity.get(),
    };
    let is_at_rest = usage.available == u128::from(defined)
        && usage.reserved == 0
        && usage.state().status == Status::Active
        && usage.state().definition.capacity == planned.definition.capacity;
    let LimitUsage { available, reserved, .. } = usage;
    let status = usage.state().status;
    (!is_at_rest).then(|| {
        format!("{} of {defined}: {available} available, {reserved} reserved, {status:?}", usage.key())
    })
}
