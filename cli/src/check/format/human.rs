//! For people: as rustc shows its errors, coloured in a terminal.

use std::borrow::Cow;
use std::io::{self, Write};
use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};

use crate::check::Report;
use crate::check::carrier::Plugin;
use crate::check::finding::{Finding, Place};
use crate::check::read::file::Source;

/// The longest line that is shown as it is; of a longer one, what is around the place.
const MAX_LINE_BYTES: usize = 400;
const AROUND_BYTES: usize = 60;

pub(in crate::check) fn write(report: &Report) -> io::Result<()> {
    // Takes the colours out where nobody would see them, or `NO_COLOR` is set.
    let mut output = anstream::stdout().lock();
    let renderer = Renderer::styled().decor_style(DecorStyle::Ascii);
    for finding in &report.findings.all {
        writeln!(output, "{}\n", render(&renderer, finding, report))?;
    }
    for plugin in &report.inventory.plugins {
        writeln!(output, "checked {}", describe(plugin, report))?;
    }
    for other in &report.inventory.others {
        let name = other.name.as_deref().unwrap_or("without a name");
        let at = position(&other.place, report);
        writeln!(
            output,
            "not checked, since it is another: Wasm plugin {} at {at}",
            shown(name)
        )?;
    }
    for unreadable in &report.unreadable {
        writeln!(
            output,
            "could not be read: {}",
            shown(&unreadable.to_string())
        )?;
    }
    writeln!(output, "{}", summary(report))?;
    output.flush()
}

fn render(renderer: &Renderer, finding: &Finding, report: &Report) -> String {
    let source = &report.sources[finding.place.source];
    let level = if finding.code.is_error {
        Level::ERROR
    } else {
        Level::WARNING
    };
    let at = source.position(source.first_line(&finding.place.span).start);
    let title = level.primary_title(&finding.message).id(finding.code.name);
    let (excerpt, is_cut) = excerpt(source, &finding.place.span);
    let snippet = Snippet::source(excerpt.text)
        .line_start(at.line)
        .annotation(AnnotationKind::Primary.span(excerpt.span));
    let mut group = if is_cut {
        let origin = Origin::path(shown(&source.name));
        let origin = origin.line(at.line).char_column(at.column);
        title.element(origin).element(snippet)
    } else {
        title.element(snippet.path(shown(&source.name)))
    };
    if let Some(help) = finding.help {
        group = group.element(Level::HELP.message(help));
    }
    renderer.render(&[group])
}

/// The line to show, and where in it the place is.
struct Excerpt<'s> {
    text: Cow<'s, str>,
    span: Range<usize>,
}

/// And whether it is but a part of the line.
fn excerpt<'s>(source: &'s Source, place: &Range<usize>) -> (Excerpt<'s>, bool) {
    let marked = source.first_line(place);
    let line = source.line_at(place.start);
    let text = &source.text;
    if line.len() <= MAX_LINE_BYTES {
        let span = marked.start - line.start..marked.end - line.start;
        let text = Cow::Borrowed(&text[line]);
        return (Excerpt { text, span }, false);
    }
    let boundary = |mut at: usize| {
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let start = boundary(marked.start.saturating_sub(AROUND_BYTES).max(line.start));
    let end = boundary((marked.start + AROUND_BYTES).min(line.end)).max(marked.start);
    let marked_end = boundary(marked.end.min(end));
    let before = if start > line.start { "…" } else { "" };
    let after = if end < line.end { "…" } else { "" };
    let shift = |at: usize| at - start + before.len();
    let span = shift(marked.start)..shift(marked_end);
    let text = Cow::Owned(format!("{before}{}{after}", &text[start..end]));
    (Excerpt { text, span }, true)
}

fn describe(plugin: &Plugin, report: &Report) -> String {
    let at = position(&plugin.place, report);
    match &plugin.name {
        Some(name) => format!("{} {} at {at}", plugin.carrier, shown(name)),
        None => format!("{} at {at}", plugin.carrier),
    }
}

fn position(place: &Place, report: &Report) -> String {
    let source = &report.sources[place.source];
    let at = source.position(place.span.start);
    format!("{}:{}", shown(&source.name), at.line)
}

/// The last line.
pub(in crate::check) fn summary(report: &Report) -> String {
    let count = |count: usize, what: &str| match count {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        more => format!("{more} {what}s"),
    };
    let errors = count(report.findings.errors(), "error");
    let warnings = count(report.findings.warnings(), "warning");
    let cut = if report.findings.is_cut {
        ", and more"
    } else {
        ""
    };
    let configurations = report.inventory.plugins.len();
    let unreadable = report.unreadable.len();
    if configurations == 0 && unreadable == 0 && report.findings.errors() == 0 {
        return format!("no configuration of the filter found: {NOT_FOUND}");
    }
    let mut summary = format!(
        "{}: {errors}, {warnings}{cut}",
        count(configurations, "configuration")
    );
    if unreadable > 0 {
        summary.push_str(&format!("; {} not read", count(unreadable, "input")));
    }
    summary
}

const NOT_FOUND: &str = "no Wasm plugin that names authgear or has \"projects\", no EnvoyExtensionPolicy, WasmPlugin or \
                         TrafficExtension with one, and no JSON of its own";

/// Names come from outside: nothing in them steers the terminal.
fn shown(text: &str) -> String {
    text.chars()
        .flat_map(|character| {
            let escaped = character.is_control().then(|| character.escape_default());
            let plain = (!character.is_control()).then_some(character);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect()
}
