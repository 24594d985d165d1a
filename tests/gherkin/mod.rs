//! Runs `tests/features` over any backend. The steps are in [`steps`]; each has a time limit.

mod driver;
mod report;
mod scenario;
mod steps;
mod words;

use std::path::Path;
use std::rc::Rc;
use std::sync::LazyLock;
use std::time::Duration;

use cucumber::codegen::{LocalBoxFuture, StepConstructor, WorldInventory, inventory};
use cucumber::step::{Collection, Context};
use cucumber::{Cucumber, StatsWriter, World, WriterExt};

use crate::fixtures::Backend;
use report::{FailureWriter, Report};
use scenario::Scenario;

/// The time limit of a step. The longest step waits for 3 s.
const STEP_TIME_MAX: Duration = Duration::from_secs(10);
/// The number of scenarios that run at once, each over its own backend.
const SCENARIOS_AT_ONCE: usize = 4;
const FEATURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/features");

/// Runs every scenario of every feature over a fresh backend, and panics with a report if one fails.
pub async fn features_hold<B: Backend>(fresh_backend: impl AsyncFn() -> B + 'static) {
    let fresh_backend = Rc::new(fresh_backend);
    let report = Report::default();
    let writer = FailureWriter::new(report.clone()).normalized().repeat_failed().summarized();
    let run = Cucumber::<Scenario, _, _, _, _>::new()
        .steps(bounded_steps())
        .with_writer(writer)
        .max_concurrent_scenarios(SCENARIOS_AT_ONCE)
        .before(move |_, _, _, scenario| {
            let fresh_backend = Rc::clone(&fresh_backend);
            Box::pin(async move {
                // Cucumber silences the panics of the whole process, which runs other tests too.
                drop(std::panic::take_hook());
                let backend = fresh_backend().await;
                within_bound("a replica starts", scenario.set_up(backend)).await;
            })
        })
        .fail_on_skipped_with(|_, _, _| true)
        // The arguments of the process belong to the test harness.
        .with_default_cli()
        .run(Path::new(FEATURES))
        .await;
    let scenarios = run.scenarios_stats();
    assert!(!run.execution_has_failed() && scenarios.passed == scenarios.total(), "{report}");
    assert!(run.passed_steps() > 0, "{FEATURES} has no steps");
}

/// The patterns of all steps, each with [`run_bounded`] as its function.
fn bounded_steps() -> Collection<Scenario> {
    let mut steps = Collection::new();
    for step in inventory::iter::<<Scenario as WorldInventory>::Given> {
        let (location, pattern, _) = step.inner();
        steps = steps.given(Some(location), pattern(), run_bounded);
    }
    for step in inventory::iter::<<Scenario as WorldInventory>::When> {
        let (location, pattern, _) = step.inner();
        steps = steps.when(Some(location), pattern(), run_bounded);
    }
    for step in inventory::iter::<<Scenario as WorldInventory>::Then> {
        let (location, pattern, _) = step.inner();
        steps = steps.then(Some(location), pattern(), run_bounded);
    }
    steps
}

/// Runs the step of `context` with the time limit. Cucumber takes plain functions only, which cannot capture a step, so
/// this function looks the step up again.
fn run_bounded(scenario: &mut Scenario, context: Context) -> LocalBoxFuture<'_, ()> {
    static STEPS: LazyLock<Collection<Scenario>> = LazyLock::new(Scenario::collection);
    Box::pin(async move {
        let name = context.step.value.clone();
        let Ok(Some((step, _, _, context))) = STEPS.find(&context.step) else {
            panic!("no step matches {name:?}, which cucumber matched before")
        };
        within_bound(&name, step(scenario, context)).await;
    })
}

async fn within_bound<T>(name: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(STEP_TIME_MAX, future).await {
        Ok(output) => output,
        Err(_) => panic!("{name:?} took longer than {STEP_TIME_MAX:?}"),
    }
}
