//! Ledgers that are wrong in each way: a scenario with one thing changed, and the law that it violates.

use ledger_limiter::audit::{Law, Report, audit};
use ledger_limiter::ledger::TransferCode as Code;
use ledger_limiter::ledger::raw::RawTransfer;

use super::list_ledger::ListLedger;
use super::scenario::{Made, everything};

struct Case {
    law: Law,
    what: &'static str,
    tamper: fn(&mut ListLedger, &Made),
}

/// The reservation of the lease that is open.
fn of_open(list: &ListLedger, made: &Made) -> RawTransfer {
    let lease = made.open.as_u128();
    list.transfers[list.find("an open lease", |transfer| transfer.wide == lease)]
}

const CASES: &[Case] = &[
    Case {
        law: Law::WholeChains,
        what: "the last transfer of a complete is missing",
        tamper: |list, made| {
            let of_lease = |transfer: &RawTransfer| transfer.wide == made.settled.as_u128();
            let last = list.transfers.iter().rposition(of_lease).expect("it was settled");
            list.transfers.remove(last);
        },
    },
    Case {
        law: Law::WholeChains,
        what: "two transfers have one time",
        tamper: |list, _| list.transfers[5].timestamp_ns = list.transfers[4].timestamp_ns,
    },
    Case {
        law: Law::Capacity,
        what: "more is reserved than the capacity",
        tamper: |list, made| {
            let reservation = of_open(list, made);
            list.append(RawTransfer { id: reservation.id + 1, amount: 61, ..reservation });
        },
    },
    Case {
        law: Law::CapacitySum,
        what: "a version grants more than it says",
        tamper: |list, _| {
            let grant = list.with_code(Code::Grant, 0);
            list.transfers[grant].amount += 1;
        },
    },
    Case {
        law: Law::CapacityMoves,
        what: "capacity is granted without a version",
        tamper: |list, _| {
            let grant = list.transfers[list.with_code(Code::Grant, 0)];
            list.append(RawTransfer { id: 1, ..grant });
        },
    },
    Case {
        law: Law::Versions,
        what: "a version has the id of none",
        tamper: |list, _| {
            let part = list.with_code(Code::Definition, 0);
            list.transfers[part].id += 1 << 16;
        },
    },
    Case {
        law: Law::Versions,
        what: "a definition is damaged",
        tamper: |list, _| {
            let second =
                list.find("a second part", |part| part.code == Code::Definition as u16 && part.short == 1);
            list.transfers[second].short = 2;
        },
    },
    Case {
        law: Law::Instances,
        what: "an instance counts nowhere",
        tamper: |list, _| {
            let cut = list.find("a counted instance", |it| it.code == Code::Cut as u16 && it.amount == 1);
            list.transfers[cut].amount = 0;
        },
    },
    Case {
        law: Law::Closed,
        what: "a deleted limit is spent",
        tamper: |list, _| {
            let spend = list.find("a spend of manual", |it| it.code == Code::Spend as u16 && it.amount == 6);
            list.append(RawTransfer { id: 2, ..list.transfers[spend] });
        },
    },
    Case {
        law: Law::Voids,
        what: "a reservation is voided twice",
        tamper: |list, _| {
            let void = list.with_code(Code::ReserveRolling, RawTransfer::VOID_PENDING);
            list.append(RawTransfer { id: 3, ..list.transfers[void] });
        },
    },
    Case {
        law: Law::LeaseIds,
        what: "a reservation has the id of another lease",
        tamper: |list, _| {
            let reservation = list.with_code(Code::Spend, 0);
            list.transfers[reservation].id ^= 1 << 60;
        },
    },
    Case {
        law: Law::GrantedOnce,
        what: "a lease is granted twice",
        tamper: |list, made| {
            let reservation = of_open(list, made);
            list.append(RawTransfer { id: reservation.id + (1 << 5), ..reservation });
        },
    },
    Case {
        law: Law::SettledOnce,
        what: "a lease is settled twice",
        tamper: |list, made| {
            let lease = made.settled.as_u128();
            let extend = list.find("an extend", |it| it.wide == lease && it.code == Code::Extend as u16);
            let marker = RawTransfer { code: Code::Complete as u16, ..list.transfers[extend] };
            list.append(RawTransfer { id: marker.id + 7, ..marker });
        },
    },
    Case {
        law: Law::SettledOnce,
        what: "a settled lease is extended",
        tamper: |list, made| {
            let lease = made.settled.as_u128();
            let extend = list.find("an extend", |it| it.wide == lease && it.code == Code::Extend as u16);
            let trace = list.transfers[extend];
            list.append(RawTransfer { id: trace.id + 7, ..trace });
        },
    },
    Case {
        law: Law::LeaseShape,
        what: "a lease gets overage without a complete",
        tamper: |list, made| {
            let reservation = of_open(list, made);
            list.append(RawTransfer { id: reservation.id + 1, code: Code::Overage as u16, ..reservation });
        },
    },
    Case {
        law: Law::LeaseShape,
        what: "a lease gets overage of a limit without allotments, but no grant",
        tamper: |list, _| {
            let lease = list.transfers[list.with_code(Code::Overage, RawTransfer::PENDING)].wide;
            let grant = list.find("its grant", |transfer| transfer.wide == lease);
            assert_eq!(list.transfers[grant].code, Code::ReserveRolling as u16);
            list.transfers.remove(grant);
        },
    },
    Case {
        law: Law::LeaseShape,
        what: "a renewal holds more than before",
        tamper: |list, _| {
            let trace = list.with_code(Code::Renew, 0);
            list.transfers[trace + 2].amount += 1;
        },
    },
    Case {
        law: Law::ShrinkExpiry,
        what: "a remainder expires early",
        tamper: |list, _| {
            let shrink = list.with_code(Code::Shrink, 0);
            list.transfers[shrink].timeout_seconds -= 2;
        },
    },
    Case {
        law: Law::ShrinkExpiry,
        what: "a remainder expires late",
        tamper: |list, _| {
            let shrink = list.with_code(Code::Shrink, 0);
            list.transfers[shrink].timeout_seconds += 60;
        },
    },
    Case {
        law: Law::Released,
        what: "a remainder is more than the reservation",
        tamper: |list, _| {
            let shrink = list.with_code(Code::Shrink, 0);
            list.transfers[shrink].amount += 40;
        },
    },
    Case {
        law: Law::Released,
        what: "more is released than was reserved",
        tamper: |list, _| {
            let release = list.with_code(Code::Release, 0);
            list.transfers[release].amount += 100;
        },
    },
    Case {
        law: Law::Debt,
        what: "less debt is cleared than is owed",
        tamper: |list, _| {
            let clear = list.with_code(Code::ClearDebt, 0);
            list.transfers[clear].amount -= 1;
        },
    },
    Case {
        law: Law::Debt,
        what: "debt is recorded for another limit",
        tamper: |list, _| {
            let debt = list.find("debt", |it| it.code == Code::Debt as u16 && it.amount > 0);
            let other = list.find("the debt of another limit", |it| {
                it.code == Code::Definition as u16 && it.credit != list.transfers[debt].debit
            });
            list.transfers[debt].debit = list.transfers[other].credit;
        },
    },
    Case {
        law: Law::Refills,
        what: "a bucket is refilled with more than is due",
        tamper: |list, _| {
            let refill = refill_of(list, Code::AdvanceClock);
            list.transfers[refill].amount += 100;
        },
    },
    Case {
        law: Law::Refills,
        what: "a refill has no trace",
        tamper: |list, _| {
            let refill = refill_of(list, Code::AdvanceClock);
            list.append(RawTransfer { id: 4, amount: 0, ..list.transfers[refill] });
        },
    },
    Case {
        law: Law::Refills,
        what: "a clock is ahead of the time",
        tamper: |list, _| {
            let advance = list.with_code(Code::AdvanceClock, 0);
            list.transfers[advance].amount += 10_000;
        },
    },
    Case {
        law: Law::Refills,
        what: "a reservation is kept on the account of another step",
        tamper: |list, _| {
            let spend =
                list.find("a spend of a window", |it| it.code == Code::Spend as u16 && it.amount == 5);
            for transfer in &mut list.transfers[spend..] {
                if transfer.code == Code::Spend as u16 && transfer.amount == 5 {
                    transfer.long += 60_000;
                }
            }
        },
    },
    Case {
        law: Law::Owed,
        what: "a bucket does not repay",
        tamper: |list, _| {
            let repay = list.find("a repayment", |it| it.code == Code::Repay as u16 && it.amount > 0);
            list.transfers[repay].amount = 0;
        },
    },
    Case {
        law: Law::Measures,
        what: "a chain leaves a part of what it measured",
        tamper: |list, _| {
            let measure = list.find("a measure", |it| it.code == Code::Measure as u16 && it.amount > 0);
            list.transfers[measure].amount -= 1;
        },
    },
    Case {
        law: Law::Alerts,
        what: "a step of an alert account could be made twice",
        tamper: |list, _| {
            let step = list.find("a step of an alert account", |it| it.code == Code::Alert as u16);
            list.transfers[step].id += 1;
        },
    },
    Case {
        law: Law::Alerts,
        what: "an alert account has a level above 100 percent",
        tamper: |list, _| {
            let step = list.find("a step of an alert account", |it| it.code == Code::Alert as u16);
            list.transfers[step].amount += 51;
        },
    },
    Case {
        law: Law::Balances,
        what: "a whole chain is missing",
        tamper: |list, made| {
            let lease = made.open.as_u128();
            list.transfers.retain(|transfer| transfer.wide != lease);
        },
    },
];

/// A refill of at least 1 right behind a transfer of this code.
fn refill_of(list: &ListLedger, trace: Code) -> usize {
    let is_refill = |pair: &[RawTransfer]| {
        pair[0].code == trace as u16 && pair[1].code == Code::Refill as u16 && pair[1].amount > 0
    };
    list.transfers.windows(2).position(is_refill).expect("the scenario makes a refill") + 1
}

async fn report(list: &ListLedger) -> Report {
    audit(list, 1, |_| {}).await.expect("the ledger answers")
}

#[tokio::test]
async fn each_violation_is_found_by_name() {
    let made = everything().await;
    let clean = ListLedger::copy(&made.backend.ledger).await;
    for Case { law, what, tamper } in CASES {
        let mut list = clean.clone();
        tamper(&mut list, &made);
        let report = report(&list).await;
        let found: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
        assert!(report.violations > 0 && !report.is_clean(), "{what}");
        assert!(report.findings.iter().any(|finding| finding.law == *law), "{what}: {found:#?}");
    }
}

#[test]
fn every_law_has_a_case() {
    for law in Law::ALL {
        assert!(CASES.iter().any(|case| case.law == law), "{}", law.name());
    }
}

#[tokio::test]
async fn what_a_later_version_writes_is_not_understood_and_no_violation() {
    let made = everything().await;
    let mut list = ListLedger::copy(&made.backend.ledger).await;
    let reservation = of_open(&list, &made);
    list.append(RawTransfer { id: 5, code: 998, wide: 0, amount: 1, timeout_seconds: 1, ..reservation });
    list.append(RawTransfer { id: 6, code: 999, wide: 0, amount: 0, flags: 0, ..reservation });
    let report = report(&list).await;
    let laws: Vec<Law> =
        report.findings.iter().map(|finding| finding.law).filter(|law| *law != Law::Balances).collect();
    assert_eq!(laws, []);
    let what: Vec<&str> = report.not_understood.keys().map(String::as_str).collect();
    assert_eq!(what, ["transfer code 998", "transfer code 999"]);
}

#[tokio::test]
async fn findings_beyond_a_thousand_are_counted_only() {
    let made = everything().await;
    let mut list = ListLedger::copy(&made.backend.ledger).await;
    let grant = list.transfers[list.with_code(Code::Grant, 0)];
    for id in 0..1_100 {
        list.append(RawTransfer { id: 10 + id, amount: 0, ..grant });
    }
    let report = report(&list).await;
    assert!(report.violations >= 1_100);
    assert_eq!(report.findings.len(), 1_000);
}
