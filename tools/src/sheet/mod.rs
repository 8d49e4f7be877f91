//! Pages to be read without a network: their frame, and how numbers, figures and remarks are written on them.

pub(crate) mod words;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::plots;

/// A page.
pub(crate) struct Sheet<'a> {
    /// What sort of page it is.
    pub(crate) kind: &'a str,
    /// What it is about.
    pub(crate) name: &'a str,
    /// Below the name.
    pub(crate) head: Markup,
    pub(crate) sections: Vec<Section>,
    /// The command that wrote it.
    pub(crate) written_by: &'a str,
}

/// A part of a page.
pub(crate) struct Section {
    /// Its place in the page's addresses.
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    pub(crate) body: Markup,
}

impl Sheet<'_> {
    /// The whole page: nothing is loaded by it.
    pub(crate) fn html(&self) -> String {
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.kind) ": " (self.name) }
                    style { (PreEscaped(plots::STYLE)) (PreEscaped(STYLE)) }
                }
                body {
                    header {
                        p.kind { (self.kind) }
                        h1 { (self.name) }
                        (self.head)
                    }
                    nav aria-label="Contents" {
                        ol { @for section in &self.sections { li { a href={ "#" (section.id) } { (section.title) } } } }
                    }
                    main {
                        @for section in &self.sections {
                            section id=(section.id) { h2 { (section.title) } (section.body) }
                        }
                    }
                    footer {
                        p {
                            "Written by " code { (self.written_by) } " " (env!("CARGO_PKG_VERSION"))
                            ". The page holds all that it shows and loads nothing. Not a medical device."
                        }
                    }
                }
            }
        };
        page.into_string()
    }
}

const STYLE: &str = include_str!("style.css");
