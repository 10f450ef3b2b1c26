//! Joint kernels in numbers: one product with the rows of all weights behind each other is the products one by one, whatever
//! the ranks and their shares; what is no joint kernel is not.

use super::{Audit, DECODER, Dense, Family, MIXTURE, PARALLEL, WINDOWED, partitions, product, whole};
use crate::joint::{Bundle, Kernels};
use crate::saturate::{Choices, Way, saturate};
use sailplan_ir::{Layout, layout_after};

fn choices(description: &str) -> Choices {
    let model = sailplan_models::from_ron("audit.ron", description).unwrap().model;
    let class = model.classes.iter().find(|class| class.name == "layer").unwrap();
    saturate(&class.template, false).unwrap()
}

impl Audit<'_> {
    /// Every family of the class, made.
    fn of<'a>(choices: &'a Choices, partitions: &'a [sailplan_ir::Partition], ranks: usize) -> Audit<'a> {
        let families = vec![None; choices.classes.len()];
        let whole = whole(&choices.template.graph, 11 + ranks as u64, 3);
        let mut audit = Audit { choices, partitions, whole, ranks, families, checked: 0 };
        audit.run();
        audit
    }

    /// The results of one kernel that multiplies a class once with weights of these classes.
    fn joint(&self, read: usize, weights: &[usize]) -> Vec<Family> {
        let family = |class: usize| self.families[class].as_ref().unwrap();
        let mut results: Vec<Family> = vec![Family::new(); weights.len()];
        for rank in 0..self.ranks {
            let x = &family(read)[rank];
            let rows = weights.iter().flat_map(|&weight| family(weight)[rank].data.iter().copied());
            let stack = Dense { data: rows.collect(), axes: vec![0, x.columns()] };
            let all = weights.iter().map(|&weight| family(weight)[rank].rows()).sum();
            let made = product(x, &Dense { axes: vec![all, x.columns()], ..stack });
            let mut first = 0;
            for (result, &weight) in results.iter_mut().zip(weights) {
                let rows = family(weight)[rank].rows();
                result.push(made.slice(1, first..first + rows));
                first += rows;
            }
        }
        results
    }
}

fn ways<'a>(choices: &'a Choices, bundle: &'a Bundle) -> impl Iterator<Item = (usize, &'a Way)> {
    bundle.ways.iter().map(|&(class, way)| (class, &choices.classes[class].ways[way]))
}

fn weights(choices: &Choices, bundle: &Bundle) -> Vec<usize> {
    ways(choices, bundle).map(|(_, way)| way.inputs[1]).collect()
}

#[test]
fn every_joint_kernel_computes_its_products() {
    for (description, count) in [(DECODER, 29), (MIXTURE, 24), (WINDOWED, 29), (PARALLEL, 29)] {
        let choices = choices(description);
        let bundles = Kernels::of(&choices).bundles;
        assert_eq!(bundles.len(), count, "{description}");
        for ranks in [1, 2, 3, 4, 5, 7] {
            for partitions in partitions(&choices, ranks) {
                let audit = Audit::of(&choices, &partitions, ranks);
                for bundle in &bundles {
                    assert!(ways(&choices, bundle).all(|(_, way)| way.inputs[0] == bundle.read));
                    let results = audit.joint(bundle.read, &weights(&choices, bundle));
                    for ((class, way), family) in ways(&choices, bundle).zip(&results) {
                        audit.check(class, family, way);
                    }
                }
            }
        }
    }
}

/// q, k and v of one value: of another value, of that value in another layout, and with k and v exchanged.
#[test]
fn other_joint_kernels_would_be_wrong() {
    let choices = choices(DECODER);
    let graph = &choices.template.graph;
    let name = |class: usize| graph[choices.classes[class].fact.tensor].name.as_str();
    let bundles = Kernels::of(&choices).bundles;
    let cut = |bundle: &&Bundle| {
        let names = bundle.ways.iter().map(|&(class, _)| (name(class), choices.classes[class].fact.layout));
        names.eq(["q", "k", "v"].map(|name| (name, Layout::Sharded(1))))
    };
    let bundle = bundles.iter().find(cut).unwrap();
    let partitions = &partitions(&choices, 2)[0];
    let audit = Audit::of(&choices, partitions, 2);
    let right = audit.joint(bundle.read, &weights(&choices, bundle));
    let differs = |one: &Family, other: &Family| {
        let pairs = one.iter().zip(other).flat_map(|(one, other)| one.data.iter().zip(&other.data));
        pairs.into_iter().any(|(one, other)| (one - other).abs() > 1e-3)
    };
    let x = (0..choices.classes.len()).find(|&class| {
        let fact = choices.classes[class].fact;
        name(class) == "x_attn" && fact.layout == Layout::Whole
    });
    let of_another = audit.joint(x.unwrap(), &weights(&choices, bundle));
    assert!(right.iter().zip(&of_another).all(|(right, other)| differs(right, other)));
    let mut exchanged = weights(&choices, bundle);
    exchanged.swap(1, 2);
    let exchanged = audit.joint(bundle.read, &exchanged);
    assert!(!differs(&right[0], &exchanged[0]));
    assert!(differs(&right[1], &exchanged[1]) && differs(&right[2], &exchanged[2]));
    let read = choices.classes[bundle.read].fact;
    for (class, way) in ways(&choices, bundle) {
        let node = graph.producer(choices.classes[class].fact.tensor).unwrap();
        let weight = choices.classes[way.inputs[1]].fact.layout;
        for other in [Layout::Sharded(0), Layout::Sharded(1), Layout::Partial] {
            assert_ne!(other, read.layout);
            let made = layout_after(graph, node, &[other, weight]);
            assert_eq!(made, None, "a product of x {other} with rows of a weight means nothing");
        }
    }
}
