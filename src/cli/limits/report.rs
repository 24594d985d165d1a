//! Shows a plan and what became of it.

use ledger_limiter::client::Definition;
use serde::Serialize;
use serde_json::Value;

use super::LimitsError;
use super::fields::{Difference, Fields, shown};
use super::make::Made;
use super::output::{Output, note};
use super::paint::Style;
use super::plan::{Change, Plan};

/// A plan in JSON.
#[derive(Serialize)]
struct Report<'a> {
    changes: Vec<ChangeReport<'a>>,
    unchanged: usize,
}

#[derive(Serialize)]
struct ChangeReport<'a> {
    key: &'a str,
    /// `create`, `update` or `delete`.
    action: &'static str,
    /// The fields that the change sets, or those that a deleted limit had.
    fields: Vec<FieldReport>,
    /// `planned`, `done`, `waits`, `failed` or `not_tried`.
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

#[derive(Serialize)]
struct FieldReport {
    name: String,
    before: Option<Value>,
    after: Option<Value>,
}

/// Shows what will be changed, for people. A report in JSON is one value, so it is printed at the end.
pub(super) fn show_plan(output: Output, plan: &Plan) -> Result<(), LimitsError> {
    if output.is_json {
        return Ok(());
    }
    for change in &plan.changes {
        let (style, sign) = match change {
            Change::Create(_) => (Style::Green, '+'),
            Change::Update { .. } => (Style::Yellow, '~'),
            Change::Delete(_) => (Style::Red, '-'),
        };
        output.line(&output.paint.text(style, &format!("{sign} {}", change.key())))?;
        for Difference { name, before, after } in differences(change)? {
            let value = match change {
                Change::Create(_) => shown(after.as_ref()),
                Change::Delete(_) => shown(before.as_ref()),
                Change::Update { .. } => format!("{} -> {}", shown(before.as_ref()), shown(after.as_ref())),
            };
            output.line(&format!("    {name}: {value}"))?;
        }
    }
    output.line(&summary(plan))
}

/// Shows what became of a plan that was shown before. `made` is `None` if nothing was tried.
pub(super) fn show_result(output: Output, plan: &Plan, made: Option<&[Made]>) -> Result<(), LimitsError> {
    let outcomes = |index: usize| made.and_then(|made| made.get(index));
    for (index, change) in plan.changes.iter().enumerate() {
        match outcomes(index) {
            Some(Made::Failed(error)) => note(&format!("limit {}: {error}", change.key())),
            Some(Made::Waits) => note(&format!(
                "limit {}: the lower capacity takes effect when enough of it is free; until then the limit grants nothing",
                change.key()
            )),
            Some(Made::Done | Made::NotTried) | None => {}
        }
    }
    if !output.is_json {
        return made.filter(|made| !made.is_empty()).map_or(Ok(()), |made| {
            let done = made.iter().filter(|made| matches!(made, Made::Done | Made::Waits)).count();
            output.line(&format!("{done} of {} changes made", made.len()))
        });
    }
    let reports = plan.changes.iter().enumerate().map(|(index, change)| report(change, outcomes(index)));
    output.json(&Report { changes: reports.collect::<Result<_, _>>()?, unchanged: plan.unchanged })
}

fn report<'a>(change: &'a Change, made: Option<&'a Made>) -> Result<ChangeReport<'a>, LimitsError> {
    let field = |Difference { name, before, after }| FieldReport { name, before, after };
    Ok(ChangeReport {
        key: change.key().as_str(),
        action: match change {
            Change::Create(_) => "create",
            Change::Update { .. } => "update",
            Change::Delete(_) => "delete",
        },
        fields: differences(change)?.into_iter().map(field).collect(),
        outcome: match made {
            None => "planned",
            Some(Made::Done) => "done",
            Some(Made::Waits) => "waits",
            Some(Made::Failed(_)) => "failed",
            Some(Made::NotTried) => "not_tried",
        },
        error: match made {
            Some(Made::Failed(error)) => Some(error),
            Some(Made::Done | Made::Waits | Made::NotTried) | None => None,
        },
    })
}

/// The fields that a change changes, without the key.
fn differences(change: &Change) -> Result<Vec<Difference>, LimitsError> {
    let fields = |definition: Option<&Definition>| definition.map_or(Ok(Fields::default()), Fields::of);
    let (before, after) = match change {
        Change::Create(after) => (None, Some(after)),
        Change::Update { before, after } => (Some(&before.definition), Some(after)),
        Change::Delete(before) => (Some(&before.definition), None),
    };
    let mut differences = fields(before)?.differences(&fields(after)?);
    differences.retain(|difference| difference.name != "key");
    Ok(differences)
}

/// What a plan does, in one line.
fn summary(plan: &Plan) -> String {
    let count = |is_kind: fn(&Change) -> bool| plan.changes.iter().filter(|change| is_kind(change)).count();
    let created = count(|change| matches!(change, Change::Create(_)));
    let updated = count(|change| matches!(change, Change::Update { .. }));
    let deleted = count(|change| matches!(change, Change::Delete(_)));
    let Plan { unchanged, .. } = plan;
    if plan.changes.is_empty() {
        return format!("nothing to do: {unchanged} unchanged");
    }
    format!("{created} to create, {updated} to change, {deleted} to delete, {unchanged} unchanged")
}
