"""Which classes of the published data sets are in which split.

CIFAR-FS: Bertinetto et al. 2019, "Meta-learning with differentiable closed-form solvers". miniImageNet: Ravi and
Larochelle 2017, "Optimization as a model for few-shot learning", by WordNet's numbers. tieredImageNet: Ren et al. 2018,
"Meta-learning for semi-supervised few-shot classification". For CIFAR-10 no split is published; here the classes are
split 6, 2 and 2 in their own order.
"""

CIFAR_FS = {
    split: names.split()
    for split, names in {
        "train": (
            "dolphin seal aquarium_fish ray trout orchid sunflower tulip bottle bowl can cup plate apple mushroom "
            "orange pear clock keyboard chair couch bee caterpillar cockroach bear lion tiger wolf bridge castle "
            "house road skyscraper cloud forest mountain elephant kangaroo porcupine possum raccoon skunk lobster "
            "spider boy girl dinosaur lizard snake turtle hamster mouse rabbit shrew squirrel oak_tree palm_tree "
            "pine_tree willow_tree bus train lawn_mower streetcar tank"
        ),
        "val": (
            "beaver otter flatfish shark lamp television beetle butterfly sea camel cattle crab crocodile "
            "maple_tree motorcycle tractor"
        ),
        "test": (
            "whale poppy rose sweet_pepper telephone bed table wardrobe leopard plain chimpanzee fox snail worm "
            "baby man woman bicycle pickup_truck rocket"
        ),
    }.items()
}
CIFAR_10 = {
    "train": ["airplane", "automobile", "bird", "cat", "deer", "dog"],
    "val": ["frog", "horse"],
    "test": ["ship", "truck"],
}
MINI_IMAGENET = {
    split: names.split()
    for split, names in {
        "train": (
            "n01532829 n01558993 n01704323 n01749939 n01770081 n01843383 n01910747 n02074367 n02089867 n02091831 "
            "n02101006 n02105505 n02108089 n02108551 n02108915 n02111277 n02113712 n02120079 n02165456 n02457408 "
            "n02606052 n02687172 n02747177 n02795169 n02823428 n02966193 n03017168 n03047690 n03062245 n03207743 "
            "n03220513 n03337140 n03347037 n03400231 n03476684 n03527444 n03676483 n03838899 n03854065 n03888605 "
            "n03908618 n03924679 n03998194 n04067472 n04243546 n04251144 n04258138 n04275548 n04296562 n04389033 "
            "n04435653 n04443257 n04509417 n04515003 n04596742 n04604644 n04612504 n06794110 n07584110 n07697537 "
            "n07747607 n09246464 n13054560 n13133613"
        ),
        "val": (
            "n01855672 n02091244 n02114548 n02138441 n02174001 n02950826 n02971356 n02981792 n03075370 n03417042 "
            "n03535780 n03584254 n03770439 n03773504 n03980874 n09256479"
        ),
        "test": (
            "n01930112 n01981276 n02099601 n02110063 n02110341 n02116738 n02129165 n02219486 n02443484 n02871525 "
            "n03127925 n03146219 n03272010 n03544143 n03775546 n04146614 n04149813 n04418357 n04522168 n07613480"
        ),
    }.items()
}
TIERED_IMAGENET = {"train": 351, "val": 97, "test": 160}  # how many classes each split has
