//! Rev-A fleets with the plain link rate of the worked examples: 500 MB/s, so that 2048 B take 4.096 µs.

use sailplan_cost_model::shipped_fleet;

/// The text of a shipped fleet with its framed link, if it has one, as one line with the rate before framing.
pub(crate) fn plain(name: &str) -> String {
    let text = shipped_fleet(name).unwrap();
    let (Some(from), Some(to)) = (text.find("\n        frame: ("), text.find("\n    host: (")) else {
        return text.to_owned();
    };
    let link = "rate: \"500 MB/s\", latency: \"5 us\", duplex: Full, coding: B8B10, state: Up),";
    format!("{}{link}{}", &text[..from], &text[to..])
}
