//! Figures as Markdown.

pub struct Table {
    rows: Vec<String>,
}

impl Table {
    pub fn new(title: &str, columns: &[&str]) -> Self {
        let mut table = Self { rows: vec![format!("\n{title}\n")] };
        table.row(&columns.iter().map(|&column| column.to_owned()).collect::<Vec<_>>());
        table.rows.push(format!("|{}", "---|".repeat(columns.len())));
        table
    }

    pub fn row(&mut self, cells: &[String]) {
        self.rows.push(format!("| {} |", cells.join(" | ")));
    }

    pub fn print(&self) {
        for row in &self.rows {
            println!("{row}");
        }
    }
}

/// Of the lock file, which says what was measured.
pub fn versions() {
    let lock = include_str!("../Cargo.lock");
    println!("What is compared:");
    for name in [
        "authkestra",
        "axum",
        "axum-jwt-auth",
        "axum-login",
        "ed25519-dalek",
        "huskarl-crypto-native",
        "huskarl-resource-server",
        "jsonwebtoken",
        "jwt-authorizer",
        "moka",
        "oauth-as",
        "quick_cache",
        "tower-oauth2-resource-server",
        "tower-sessions",
        "tower-sessions-moka-store",
    ] {
        let versions = lock.split("[[package]]").filter_map(|package| {
            let named = package.contains(&format!("name = \"{name}\"\n"));
            let version = package.lines().find_map(|line| line.strip_prefix("version = "));
            version.filter(|_| named).map(|version| version.trim_matches('"'))
        });
        println!("- {name} {}", versions.collect::<Vec<_>>().join(", "));
    }
}

pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures[figures.len() / 2]
}
