//! Tests only: rows on their way to experts and back. Rows that take none of a rank's experts are no numbers there, so that
//! whatever reads one shows.

use super::*;

impl Audit<'_> {
    /// Which of a step's rows take an expert that a rank has.
    fn taken(&self, gates: TensorId, rank: usize) -> Vec<bool> {
        let value = &self.whole[gates.index()];
        let local = self.range(gates, 1, rank);
        (0..value.rows()).map(|row| local.clone().any(|expert| value.at(row, expert) != 0.0)).collect()
    }

    fn gates(&self, tensor: TensorId) -> TensorId {
        let graph = &self.choices.template.graph;
        graph.dispatched_by(tensor).or(graph.combined_by(tensor)).expect("experts read or make it")
    }

    /// The rows of a value that go to each rank.
    pub(super) fn dispatched(&self, tensor: TensorId, value: &Dense) -> Family {
        let at = |rank: usize| {
            let taken = self.taken(self.gates(tensor), rank);
            Dense::build(&value.axes, |row, column| if taken[row] { value.at(row, column) } else { f64::NAN })
        };
        (0..self.ranks).map(at).collect()
    }

    /// The sum of what the ranks made of the rows that went to them.
    pub(super) fn combined(&self, tensor: TensorId, family: &Family) -> Dense {
        let taken: Vec<Vec<bool>> = (0..self.ranks).map(|rank| self.taken(self.gates(tensor), rank)).collect();
        Dense::build(&family[0].axes, |row, column| {
            let contributions = family.iter().zip(&taken).filter(|(_, taken)| taken[row]);
            contributions.map(|(part, _)| part.at(row, column)).sum()
        })
    }

    /// Rows that went to a rank are the value's; those that did not are nothing.
    pub(super) fn check_dispatched(&self, tensor: TensorId, family: &Family, what: &str) {
        for (ours, theirs) in family.iter().zip(&self.dispatched(tensor, &self.whole[tensor.index()])) {
            let same = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-12 || (a.is_nan() && b.is_nan());
            assert!(ours.data.iter().zip(&theirs.data).all(same), "{what}");
        }
    }

    /// What a rank made of rows that did not go to it is zero.
    pub(super) fn check_routed(&self, tensor: TensorId, family: &Family, what: &str) {
        for (rank, part) in family.iter().enumerate() {
            let taken = self.taken(self.gates(tensor), rank);
            let zero = |row: usize| (0..part.columns()).all(|column| part.at(row, column) == 0.0);
            assert!((0..part.rows()).all(|row| taken[row] || zero(row)), "{what}");
        }
    }
}

/// What the rule of experts must not say, evaluated: rows that go by other gates, and sums of what is made of parts of every
/// expert's columns, to which every rank contributes to every row.
#[test]
fn other_ways_of_rows_would_be_wrong() {
    let model = sailplan_models::from_ron("audit.ron", MIXTURE).unwrap().model;
    let class = model.classes.iter().find(|class| class.name == "layer").unwrap();
    let choices = saturate(&class.template, false).unwrap();
    let partitions = &partitions(&choices, 3)[0];
    let (graph, whole) = (&class.template, whole(&class.template, 11, 4));
    let node = graph.nodes.iter().find(|node| matches!(node.op, Op::Experts { .. })).unwrap();
    let [x, gates, into, up, down] = node.inputs[..] else { panic!("five operands") };
    let families = vec![None; choices.classes.len()];
    let audit = Audit { choices: &choices, partitions, whole: whole.clone(), ranks: 3, families, checked: 0 };
    let value = |tensor: TensorId| &whole[tensor.index()];
    let made = |rows: &Family, gates: &Dense, by_columns: bool| -> Family {
        let one = |rank: usize| {
            let range = audit.range(gates_of(graph), 1, rank);
            let (e, f) = (range.clone(), audit.range(into, 1, rank));
            match by_columns {
                true => experts(&[
                    &rows[rank],
                    gates,
                    &value(into).slice(1, f.clone()),
                    &value(up).slice(1, f.clone()),
                    &value(down).slice(2, f),
                ]),
                false => experts(&[
                    &rows[rank],
                    &gates.slice(1, e.clone()),
                    &value(into).slice(0, e.clone()),
                    &value(up).slice(0, e.clone()),
                    &value(down).slice(0, e),
                ]),
            }
        };
        (0..3).map(one).collect()
    };
    let off = |family: &Family| {
        let sum = audit.combined(node.output, family);
        sum.data.iter().zip(&value(node.output).data).any(|(a, b)| (a - b).abs() > 1e-3 || a.is_nan())
    };
    let rows = audit.dispatched(x, value(x));
    assert!(!off(&made(&rows, value(gates), false)), "the right way");
    let everywhere = vec![value(x).clone(); 3];
    assert!(!off(&made(&everywhere, value(gates), false)), "rows that are not wanted do no harm");
    assert!(off(&made(&everywhere, value(gates), true)), "experts cut inside");
    let mut other = value(gates).clone();
    other.data.rotate_right(1);
    assert!(off(&made(&rows, &other, false)), "the gates of another layer");
}

fn gates_of(graph: &Graph) -> TensorId {
    graph.nodes.iter().find(|node| matches!(node.op, Op::Experts { .. })).unwrap().inputs[1]
}
