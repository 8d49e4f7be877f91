use super::*;

/// Every figure, of these values, with names that are markup.
fn figures(values: &[f64]) -> Vec<String> {
    let name = |at: usize| format!("<script>alert({at})</script> & \"CD4\" T\u{0}\u{1b}");
    let label = || Axis::new("a < b & c");
    let at = |n: usize| values.get(n).copied().unwrap_or(f64::NAN);
    let estimate = |&value: &f64| Estimate { value, interval: Some((value - 1.0, at(0))) };
    let points = values.iter().enumerate().map(|(n, &value)| Point {
        x: n as f64,
        y: value,
        interval: Some((value, at(n + 1))),
    });
    let mut figures = Vec::new();
    for scale in [Scale::Linear, Scale::Log, Scale::LogFalling] {
        for spread in [Spread::Band, Spread::Bars] {
            let series = Series {
                name: name(0),
                points: points.clone().collect(),
                spread,
                ..Series::default()
            };
            let dashed = Series { stroke: Stroke::Dashed, ..series.clone() };
            let axis = Axis { scale, ..label() };
            let chart = LineChart {
                title: name(1),
                x: axis.clone(),
                y: axis,
                series: vec![series, dashed],
            };
            figures.push(chart.svg());
        }
    }
    let pairs: Vec<(f64, f64)> = values.iter().map(|&value| (value, at(0))).collect();
    let categories = (0..6).map(|n| Category { name: name(n), points: pairs.clone() }).collect();
    figures.push(Scatter { title: name(2), x: label(), y: label(), categories }.svg());
    let cells =
        values.iter().map(|&value| Cell { value, text: number(value), tip: name(3) }).collect();
    let names: Vec<String> = (0..values.len()).map(name).collect();
    figures.push(
        Heatmap {
            title: name(4),
            rows: names.clone(),
            columns: names,
            cells,
            ..Heatmap::default()
        }
        .svg(),
    );
    let bars = values.iter().enumerate().map(|(n, &value)| Bar {
        name: name(n),
        value,
        text: percent(value),
        category: n,
    });
    figures.push(Bars { title: name(5), axis: label(), bars: bars.collect() }.svg());
    let rows = values
        .iter()
        .map(|value| ForestRow { name: name(6), estimates: vec![Some(estimate(value)), None] });
    let groups = vec![name(7), name(8)];
    figures.push(Forest { title: name(9), axis: label(), groups, rows: rows.collect() }.svg());
    figures
}

const CASES: [&[f64]; 7] = [
    &[],
    &[0.5],
    &[0.0, 0.0, 0.0],
    &[3.0, 3.0, 3.0],
    &[f64::NAN, f64::INFINITY, f64::NEG_INFINITY],
    &[1.0, -2.5, f64::NAN, 1e-300, 7.0],
    &[f64::MAX, f64::MIN, 1e300, 5e-324, 1e20, 1e20 + 1e5],
];

#[test]
fn figures_are_well_formed_and_keep_names_as_text() {
    for values in CASES {
        for figure in figures(values) {
            for text in [figure.clone(), standalone(&figure)] {
                let document = roxmltree::Document::parse(&text)
                    .unwrap_or_else(|error| panic!("{error}: {text}"));
                assert_eq!(document.root_element().tag_name().name(), "svg");
                assert!(document.descendants().all(|node| node.tag_name().name() != "script"));
                let title = document.descendants().find(|node| node.has_tag_name((SVG, "title")));
                assert!(title.unwrap().text().unwrap().starts_with("<script>alert("), "{text}");
            }
        }
    }
}

#[test]
fn every_coordinate_is_finite_and_inside_the_figure() {
    for values in CASES {
        for figure in figures(values) {
            let document = roxmltree::Document::parse(&figure).unwrap();
            let size =
                |name| document.root_element().attribute(name).unwrap().parse::<f64>().unwrap();
            let (width, height) = (size("width"), size("height"));
            for node in document.descendants() {
                for (name, most) in
                    [("x", width), ("cx", width), ("y", height), ("cy", height), ("width", width)]
                {
                    let Some(text) = node.attribute(name) else { continue };
                    let value: f64 = text.parse().unwrap();
                    assert!((0.0..=most).contains(&value), "{name} {value} of {most}: {figure}");
                }
                for text in ["d", "transform"].into_iter().filter_map(|name| node.attribute(name)) {
                    assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
                }
            }
        }
    }
}

#[test]
fn thousands_of_points_take_few_bytes() {
    let points = (0..5000_u32).map(|n| (f64::from(n).sin(), f64::from(n * 7).cos())).collect();
    let categories = vec![Category { name: "one".into(), points }];
    let figure = Scatter { categories, ..Scatter::default() }.svg();
    assert!(figure.len() < 5000 * 16 + 2000, "{}", figure.len());
    assert_eq!(figure.matches("h0").count(), 5001, "every point, and the mark of the legend");
}

#[test]
fn ticks_are_round_and_few() {
    for (low, high) in [(0.0, 1.0), (-3.0, 17.0), (0.912, 0.934), (1e-9, 3e-9), (0.0, 1e12)] {
        let chart = LineChart { y: Axis::between("y", low, high), ..LineChart::default() }.svg();
        let ticks = chart.matches("class=\"grid\"").count();
        assert!((6..=18).contains(&ticks), "{low} to {high}: {ticks}");
    }
    let falling = Axis {
        scale: Scale::LogFalling,
        ticks: [1.0, 0.5, 0.1].map(|depth| (depth, percent(depth))).into(),
        ..Axis::new("depth")
    };
    let points = [(1.0, 0.9), (0.1, 0.4)].map(|(x, y)| Point::new(x, y)).into();
    let series = vec![Series { points, ..Series::default() }];
    let chart = LineChart { x: falling, series, ..LineChart::default() }.svg();
    let place = |text: &str| -> f64 {
        let end = chart.find(&format!(">{text}<")).unwrap();
        let start = chart[..end].rfind("<text x=\"").unwrap() + 9;
        chart[start..].split('"').next().unwrap().parse().unwrap()
    };
    assert!(
        place("100.0\u{a0}%") < place("50.0\u{a0}%") && place("50.0\u{a0}%") < place("10.0\u{a0}%")
    );
}

#[test]
fn numbers_are_written_alike() {
    let texts: Vec<String> =
        [0.0, 0.1234, 1.0, 12.34, 123.4, 12345.6, -0.5, -1234.0, 2e-5, f64::NAN].map(number).into();
    assert_eq!(
        texts,
        ["0", "0.123", "1", "12.3", "123", "12,346", "−0.500", "−1,234", "2.0e−5", "–"]
    );
    assert_eq!(percent(0.9057), "90.6\u{a0}%");
}

#[test]
fn every_colour_has_its_style_in_light_and_dark() {
    for colour in 0..N_COLOURS {
        assert_eq!(STYLE.matches(&format!(".s{colour}{{color:#")).count(), 2);
    }
    assert!(!STYLE.contains("url(") && !STYLE.contains("http"));
}

const SVG: &str = "http://www.w3.org/2000/svg";
