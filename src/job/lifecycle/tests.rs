//! The table is whole, and the drawing shows it.

use super::*;

fn drawing() -> String {
    let mut lines = vec!["stateDiagram-v2".to_owned()];
    for row in LIFE {
        let from = row.from.map_or("[*]", State::as_str);
        let event = row.event.as_str();
        lines.push(format!("    {from} --> {}: {event} ({})", row.to, row.script));
    }
    lines.join("\n")
}

#[test]
fn the_drawing_shows_the_table() {
    let source = include_str!("../lifecycle.rs");
    let drawn: Vec<&str> = source
        .lines()
        .map_while(|line| line.strip_prefix("//!"))
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .skip_while(|line| *line != "```text")
        .skip(1)
        .take_while(|line| *line != "```")
        .collect();
    assert_eq!(drawn.join("\n"), drawing(), "paste the right side into the header");
}

#[test]
fn a_state_and_an_event_lead_to_one_place() {
    for (index, row) in LIFE.iter().enumerate() {
        let again =
            LIFE[index + 1..].iter().find(|it| it.from == row.from && it.event == row.event);
        assert_eq!(again, None, "{row}");
    }
}

#[test]
fn every_live_state_can_be_left_and_an_end_by_an_operator_or_a_late_url_only() {
    for state in State::ALL {
        let mut ways = LIFE.iter().filter(|row| row.from == Some(state) && row.to != state);
        if state.is_end() {
            let late_url = |row: &Row| {
                row.from == Some(State::Expired)
                    && matches!(row.event, Event::Ready | Event::Pushed)
            };
            assert!(ways.all(|row| row.script == "retry" || late_url(row)), "{state}");
        } else {
            assert!(ways.next().is_some(), "{state}");
        }
    }
    assert!(LIFE.iter().all(|row| row.from != Some(State::Completed)), "a video is final");
}
