//! What a trace shows of callers that share a request.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use tracing::Subscriber;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use super::script::{ONE_SESSION, Script, pass};

/// A span that began: its name, its parent's, and its fields.
#[derive(Debug, Clone, Default)]
struct Begun {
    name: &'static str,
    parent: Option<u64>,
    id: u64,
    fields: BTreeMap<&'static str, String>,
}

impl Visit for Begun {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }
}

#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<Begun>>>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Recorder {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let parent = context.span(id).and_then(|span| span.parent().map(|parent| parent.id().into_u64()));
        let mut begun =
            Begun { name: attributes.metadata().name(), parent, id: id.into_u64(), ..Begun::default() };
        attributes.record(&mut begun);
        self.0.lock().expect("no test panicked").push(begun);
    }
}

#[tokio::test(start_paused = true)]
async fn each_caller_has_a_span_of_its_own_for_the_request_that_it_shared() {
    let recorder = Recorder::default();
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(recorder.clone()));
    // While there is one dispatcher alone, `tracing` asks that of the thread which meets a span first whether anybody wants it. A
    // test beside this one has none, so that nobody would.
    let _another = tracing::Dispatch::new(tracing_subscriber::registry());
    let world = Script::default().start(ONE_SESSION);
    world.keep_session_busy().await;
    let callers = [world.submit(1, &[2]), world.submit(2, &[1, 3])];
    pass(1).await;
    for caller in callers {
        caller.answer().await;
    }

    let begun = recorder.0.lock().expect("no test panicked").clone();
    let submits: Vec<&Begun> = begun.iter().filter(|span| span.name == "submit").collect();
    let [busy, first, second] = submits.as_slice() else { panic!("{begun:#?}") };
    let request_of = |submit: &Begun| {
        let requests: Vec<&Begun> =
            begun.iter().filter(|span| span.name == "request" && span.parent == Some(submit.id)).collect();
        let [request] = requests.as_slice() else { panic!("{begun:#?}") };
        request.fields.clone()
    };
    let (of_first, of_second) = (request_of(first), request_of(second));
    assert_eq!(of_first, of_second, "they rode in one request");
    assert_eq!(of_first["ledger.request.callers"], "2");
    assert_eq!(of_first["db.operation.batch.size"], "6");
    assert_ne!(request_of(busy)["ledger.request.number"], of_first["ledger.request.number"]);
    assert_eq!((first.fields["transfers"].as_str(), second.fields["transfers"].as_str()), ("2", "4"));
}
