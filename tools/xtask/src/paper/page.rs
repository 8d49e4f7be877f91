//! The page that is written: Markdown.

/// What was written so far.
#[derive(Default)]
pub struct Page(String);

impl Page {
    /// Paragraphs and headings as they are.
    pub fn text(&mut self, text: &str) {
        self.0 += text.trim_end();
        self.0 += "\n\n";
    }

    /// A heading of the third level.
    pub fn heading(&mut self, text: &str) {
        self.text(&format!("### {text}"));
    }

    /// A command and what it printed.
    pub fn command(&mut self, command: &str, printed: &str) {
        self.text(&format!("```\n$ {command}\n{}\n```", printed.trim_end()));
    }

    /// A figure beside the page.
    pub fn figure(&mut self, path: &str, what: &str) {
        self.text(&format!("![{what}]({path})"));
    }

    /// A table: its head, how columns are aligned, and its rows.
    pub fn table(&mut self, head: &str, rows: &[String]) {
        let columns = head.matches('|').count() - 1;
        let rule = format!("|---{}|", "|---:".repeat(columns - 1));
        self.text(&format!("{head}\n{rule}\n{}", rows.join("\n")));
    }

    /// All of it.
    pub fn finish(self) -> String {
        self.0.trim_end().to_owned() + "\n"
    }
}
