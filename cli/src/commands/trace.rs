//! A simulation as Chrome trace JSON, which Perfetto and chrome://tracing show: prefill and decode one after the other,
//! one process for each card with its simulated and its predicted instructions, and one lane for each link direction.

use crate::outcome::Failure;
use sailplan_codegen::Plan;
use sailplan_executor::{MediumTime, Occupation, Simulation, Span, Timeline, predicted};
use sailplan_ir::Picoseconds;
use serde::Serialize;
use serde_json::{Value, json};

/// An event of the trace format: a complete span, or the name of a process or lane. Times are microseconds.
#[derive(Serialize)]
struct Event {
    name: String,
    #[serde(rename = "cat", skip_serializing_if = "Option::is_none")]
    category: Option<&'static str>,
    #[serde(rename = "ph")]
    kind: &'static str,
    #[serde(rename = "ts", skip_serializing_if = "Option::is_none")]
    start: Option<f64>,
    #[serde(rename = "dur", skip_serializing_if = "Option::is_none")]
    duration: Option<f64>,
    #[serde(rename = "pid")]
    process: usize,
    #[serde(rename = "tid")]
    lane: usize,
    #[serde(skip_serializing_if = "Value::is_null")]
    args: Value,
}

/// Lanes of a card, in the order in which they are shown.
const LANES: [&str; 4] = ["memory and compute", "links", "host", "predicted"];
const PREDICTED: usize = 3;

/// The links' process stands after the cards'.
const LINKS: &str = "links";

pub(crate) fn text(plan: &Plan, simulation: &Simulation) -> Result<String, Failure> {
    let forecast = predicted(plan)?;
    let mut trace = Trace { events: Vec::new(), links: plan.fleet.inline.size() };
    trace.names(plan, simulation);
    let second = simulation.prefill.time.max(forecast.prefill.time);
    for (category, from, simulated, forecast) in [
        ("prefill", Picoseconds(0), &simulation.prefill, &forecast.prefill),
        ("decode", second, &simulation.decode, &forecast.decode),
    ] {
        let mut part = Part { trace: &mut trace, category, from };
        simulated.spans.iter().for_each(|span| part.span(span, lane(span.what)));
        forecast.spans.iter().for_each(|span| part.span(span, PREDICTED));
        part.media(simulated);
    }
    let object = json!({ "displayTimeUnit": "ms", "traceEvents": trace.events });
    serde_json::to_string(&object).map(|text| text + "\n").map_err(|error| Failure::Bug(error.to_string()))
}

const fn lane(what: Occupation) -> usize {
    match what {
        Occupation::Kernels => 0,
        Occupation::Links => 1,
        Occupation::Host => 2,
    }
}

struct Trace {
    events: Vec<Event>,
    /// Process of the links.
    links: usize,
}

impl Trace {
    fn names(&mut self, plan: &Plan, simulation: &Simulation) {
        for sail in &plan.sails {
            let process = sail.sail.index();
            self.named("process_name", process, 0, &sail.sail.to_string());
            for (lane, name) in LANES.into_iter().enumerate() {
                self.named("thread_name", process, lane, name);
            }
        }
        self.named("process_name", self.links, 0, LINKS);
        for used in simulation.prefill.media.iter().chain(&simulation.decode.media) {
            self.named("thread_name", self.links, used.number, &used.medium.to_string());
        }
    }

    fn named(&mut self, what: &str, process: usize, lane: usize, name: &str) {
        self.events.push(Event {
            name: what.to_owned(),
            category: None,
            kind: "M",
            start: None,
            duration: None,
            process,
            lane,
            args: json!({ "name": name }),
        });
    }
}

/// One program's events, which begin at `from`.
struct Part<'a> {
    trace: &'a mut Trace,
    category: &'static str,
    from: Picoseconds,
}

impl Part<'_> {
    fn span(&mut self, span: &Span, lane: usize) {
        let args = span.layer.map_or(Value::Null, |layer| json!({ "layer": layer }));
        self.push(span.name.to_string(), (span.start, span.end), (span.sail.index(), lane), args);
    }

    fn media(&mut self, timeline: &Timeline) {
        for MediumTime { number, periods, .. } in &timeline.media {
            for &period in periods {
                self.push("busy".to_owned(), period, (self.trace.links, *number), Value::Null);
            }
        }
    }

    fn push(&mut self, name: String, period: (Picoseconds, Picoseconds), place: (usize, usize), args: Value) {
        let micros = |time: Picoseconds| time.0 as f64 / 1e6;
        self.trace.events.push(Event {
            name,
            category: Some(self.category),
            kind: "X",
            start: Some(micros(self.from + period.0)),
            duration: Some(micros(period.1 - period.0)),
            process: place.0,
            lane: place.1,
            args,
        });
    }
}
