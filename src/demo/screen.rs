//! For a terminal: the timeline grows, and a panel below it is redrawn in place.
//!
//! No alternate screen: what was shown stays in the terminal's history. Every redraw is one write,
//! inside a synchronised update where the terminal knows them, and no line is wider than the
//! terminal, so that "so many lines up" leads to the panel's first one. The cursor comes back when the
//! screen is dropped, and before a panic is reported.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use crossterm::style::{Attribute, Color, SetAttribute, SetForegroundColor};
use crossterm::terminal::{
    BeginSynchronizedUpdate, Clear, ClearType, DisableLineWrap, EnableLineWrap,
    EndSynchronizedUpdate,
};
use crossterm::{cursor, queue, terminal};

use super::closing::bar;
use super::event::{Beat, Event, MasterState, Told};
use super::line::{Line, Tone};
use super::stage::Audience;
use super::wording::{self, grouped, name};

/// What a terminal is taken for that does not say how wide it is.
const WIDTH: u16 = 80;

/// Columns of the moment before a line, and of what continues it.
const MARGIN: usize = 10;

/// Beats that are kept for the panel's chart; no terminal is wider.
const BEATS: usize = 500;

/// Beats over which a rate is taken: one second.
const RATE: usize = 20;

/// How long the spinner stands still.
const TURN: Duration = Duration::from_millis(80);

const SPINNER: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

/// A terminal with a timeline and a panel.
pub(super) struct Screen<W: Write> {
    out: W,
    colour: bool,
    width: fn() -> u16,
    /// Lines of the panel that are on the terminal now.
    drawn: u16,
    doing: Option<&'static str>,
    opened: Instant,
    turn: usize,
    beat: Option<Beat>,
    beats: VecDeque<[u64; 2]>,
}

impl<W: Write> Screen<W> {
    /// Takes the terminal over.
    pub(super) fn open(mut out: W, colour: bool) -> io::Result<Self> {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // It is being reported: what else fails here does not matter.
            let _ = give_back(&mut io::stdout());
            before(panic);
        }));
        queue!(out, cursor::Hide, DisableLineWrap)?;
        out.flush()?;
        let width = || terminal::size().map_or(WIDTH, |(columns, _)| columns.max(1));
        Ok(Self::of(out, colour, width))
    }

    fn of(out: W, colour: bool, width: fn() -> u16) -> Self {
        let beats = VecDeque::with_capacity(BEATS);
        Self {
            out,
            colour,
            width,
            drawn: 0,
            doing: None,
            opened: Instant::now(),
            turn: 0,
            beat: None,
            beats,
        }
    }

    fn take_in(&mut self, event: &Event) {
        match event {
            Event::Doing(what) => self.doing = Some(what),
            Event::Beat(beat) => {
                if self.beats.len() == BEATS {
                    self.beats.pop_front();
                }
                self.beats.push_back(beat.rows);
                self.beat = Some(beat.clone());
            }
            Event::Found(_) | Event::Interrupted => self.doing = None,
            Event::Stays(_) => self.doing = Some("until Ctrl-C"),
            _ => {}
        }
    }

    /// Writes lines where the panel was, and the panel below them.
    fn draw(&mut self, lines: &[(Duration, Line)]) -> io::Result<()> {
        let width = usize::from((self.width)());
        let mut frame = Vec::new();
        queue!(frame, BeginSynchronizedUpdate)?;
        if self.drawn > 0 {
            queue!(frame, cursor::MoveToPreviousLine(self.drawn))?;
        }
        queue!(frame, Clear(ClearType::FromCursorDown))?;
        for (at, line) in lines {
            let line = if line.timed { stamped(*at, line) } else { line.clone() };
            let indent = if line.timed { MARGIN } else { 0 };
            for part in line.folded(width, indent) {
                self.paint(&mut frame, &part)?;
            }
        }
        let panel = self.panel(width);
        for line in &panel {
            self.paint(&mut frame, line)?;
        }
        self.drawn = u16::try_from(panel.len()).unwrap_or(0);
        queue!(frame, EndSynchronizedUpdate)?;
        self.out.write_all(&frame)?;
        self.out.flush()
    }

    /// What is redrawn: both masters, the last seconds, and what is being waited for.
    fn panel(&self, width: usize) -> Vec<Line> {
        let Some(doing) = self.doing else { return Vec::new() };
        let spinner = SPINNER[self.turn % SPINNER.len()];
        let status =
            Line::bare().then(Tone::Good, format!("  {spinner} ")).then(Tone::Plain, doing);
        let Some(beat) = &self.beat else { return vec![Line::bare(), status] };
        let rate: u64 = self.beats.iter().rev().take(RATE).flatten().sum();
        let mut lines = vec![Line::bare()];
        lines.extend((0..2).map(|master| master_line(beat, master)));
        lines.push(self.chart(width));
        lines.push(status.then(
            Tone::Dim,
            format!(
                "   term {}   {rate} rows/s   held {} ({} now)   errors {}",
                beat.term, beat.held[1], beat.held[0], beat.errors
            ),
        ));
        lines.into_iter().filter_map(|line| line.folded(width, 0).into_iter().next()).collect()
    }

    fn chart(&self, width: usize) -> Line {
        let shown = width.saturating_sub(4);
        let skipped = self.beats.len().saturating_sub(shown);
        let sum = |beat: &[u64; 2]| u32::try_from(beat[0] + beat[1]).unwrap_or(u32::MAX);
        let most = self.beats.iter().skip(skipped).map(sum).max().unwrap_or(0);
        let mut line = Line::bare().then(Tone::Plain, "  ");
        for beat in self.beats.iter().skip(skipped) {
            let tone = Tone::Master(usize::from(beat[1] > beat[0]));
            line = line.then(tone, bar(sum(beat), most).to_string());
        }
        line
    }

    fn paint(&self, frame: &mut Vec<u8>, line: &Line) -> io::Result<()> {
        for (tone, text) in &line.spans {
            if self.colour {
                set(frame, *tone)?;
            }
            frame.extend_from_slice(text.as_bytes());
            if self.colour {
                queue!(frame, SetAttribute(Attribute::Reset))?;
            }
        }
        frame.extend_from_slice(b"\n");
        Ok(())
    }
}

impl<W: Write + Send> Audience for Screen<W> {
    fn hear(&mut self, told: Vec<Told>) -> io::Result<()> {
        let turns = self.opened.elapsed().as_millis() / TURN.as_millis();
        self.turn = usize::try_from(turns).unwrap_or(0);
        let mut lines = Vec::new();
        for Told { at, event } in &told {
            self.take_in(event);
            lines.extend(wording::lines(event).into_iter().map(|line| (*at, line)));
        }
        self.draw(&lines)
    }

    fn leave(&mut self) -> io::Result<()> {
        self.doing = None;
        self.draw(&[])
    }
}

impl<W: Write> Drop for Screen<W> {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing back.
        let _ = give_back(&mut self.out);
    }
}

fn give_back(out: &mut impl Write) -> io::Result<()> {
    queue!(out, SetAttribute(Attribute::Reset), EnableLineWrap, cursor::Show)?;
    out.flush()
}

/// With the moment before it.
fn stamped(at: Duration, line: &Line) -> Line {
    let moment = format!("{:>width$.3}  ", at.as_secs_f64(), width = MARGIN - 2);
    let mut stamped = Line::timed().then(Tone::Dim, moment);
    stamped.spans.extend(line.spans.iter().cloned());
    stamped
}

fn master_line(beat: &Beat, master: usize) -> Line {
    let (mark, tone) = match beat.masters[master] {
        MasterState::Active => ('●', Tone::Good),
        MasterState::Standby => ('○', Tone::Dim),
        MasterState::Down => ('✗', Tone::Bad),
    };
    let keys = ["odd", "even"][master];
    let rows = grouped(usize::try_from(beat.total[master]).unwrap_or(usize::MAX));
    Line::bare()
        .then(Tone::Master(master), format!("  {} ", name(master)))
        .then(tone, format!("{mark} {:<9}", wording::state(beat.masters[master])))
        .then(Tone::Plain, format!("{rows:>9} rows"))
        .then(Tone::Dim, format!(" with {keys} keys"))
}

fn set(frame: &mut Vec<u8>, tone: Tone) -> io::Result<()> {
    match tone {
        Tone::Plain => Ok(()),
        Tone::Dim => queue!(frame, SetAttribute(Attribute::Dim)),
        Tone::Strong => queue!(frame, SetAttribute(Attribute::Bold)),
        Tone::Good => queue!(frame, SetForegroundColor(Color::DarkGreen)),
        Tone::Bad => {
            queue!(frame, SetForegroundColor(Color::DarkRed), SetAttribute(Attribute::Bold))
        }
        Tone::Master(0) => queue!(frame, SetForegroundColor(Color::DarkCyan)),
        Tone::Master(_) => queue!(frame, SetForegroundColor(Color::DarkMagenta)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A terminal that knows nothing but how far to go up and to clear what is below.
    fn shown(written: &[u8]) -> Vec<String> {
        let mut lines = vec![String::new()];
        let written = String::from_utf8(written.to_vec()).unwrap();
        let mut rest = written.as_str();
        while let Some(character) = rest.chars().next() {
            let Some(sequence) = rest.strip_prefix("\u{1b}[") else {
                match character {
                    '\n' => lines.push(String::new()),
                    _ => lines.last_mut().unwrap().push(character),
                }
                rest = &rest[character.len_utf8()..];
                continue;
            };
            let end = sequence.find(|c: char| c.is_ascii_alphabetic()).unwrap();
            if sequence[end..].starts_with('F') {
                let up: usize = sequence[..end].parse().unwrap();
                lines.truncate(lines.len() - up);
                *lines.last_mut().unwrap() = String::new();
            }
            rest = &sequence[end + 1..];
        }
        lines
    }

    fn beat(row: u64) -> Event {
        Event::Beat(Beat {
            masters: [MasterState::Active, MasterState::Down],
            rows: [row, 0],
            total: [row, 0],
            held: [0, 8],
            errors: 3,
            term: 2,
        })
    }

    fn play(width: fn() -> u16, colour: bool) -> (Vec<String>, Vec<String>) {
        let mut screen = Screen::of(Vec::new(), colour, width);
        let told = |event| vec![Told { at: Duration::from_millis(1234), event }];
        screen.hear(told(Event::Chapter("A chapter"))).unwrap();
        screen.hear(told(Event::Doing("waiting for something"))).unwrap();
        for row in 0..200 {
            screen.hear(told(beat(row))).unwrap();
        }
        let reason = "m1 refuses connections (Connection refused (os error 111)); m2 takes over";
        let (from, to) = ("suspect", "catching up");
        screen.hear(told(Event::Transition { from, to, reason: reason.to_owned() })).unwrap();
        let during = shown(&screen.out);
        screen.leave().unwrap();
        (during, shown(&screen.out))
    }

    #[test]
    fn the_panel_stays_below_the_timeline_and_goes_at_the_end() {
        let (during, end) = play(|| 120, true);
        let timeline = [
            "",
            "A chapter",
            "   1.234  tandem: suspect → catching up  m1 refuses connections (Connection refused (os \
             error 111)); m2 takes over",
        ];
        assert_eq!(end, [&timeline[..], &[""]].concat());
        assert_eq!(during[..3], timeline);
        assert_eq!(during.len(), 3 + 5 + 1, "{during:#?}");
        assert!(during[4].contains("m1 ● active"), "{during:#?}");
        assert!(during[7].contains("waiting for something   term 2"), "{during:#?}");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for (width, of) in [(1, (|| 1) as fn() -> u16), (20, || 20), (80, || 80), (250, || 250)] {
            let (during, _) = play(of, false);
            for line in during {
                assert!(line.trim_end().chars().count() <= width, "{width}: `{line}`");
            }
        }
    }
}
