"""Sound tagging for DCASE 2018 Task 2: a folder of clips and a CSV of labels to a ranked submission.

The map, leaves first; a module imports only from lines above its own:

    errors        what a user can cause, as one line and an exit code
    publish       files that appear whole or not at all
    progress      a bar on a terminal, a line now and then elsewhere
    parallel      processes of this machine, or a Dask cluster
    settings      frozen dataclasses that a user may override by name=value
    recipe        what makes a feature, and its frame arithmetic
    hparams       what makes a training, and the presets
    metrics       MAP@3
    dataset       label files, class maps, splits
    audio         reading a clip, and what is wrong with a bad one
    sources       which clips a folder holds
    logmel        windows of samples to log mel frames
    frontend      a recipe at work: a clip to frames
    store         the HDF5 file where the two halves meet
    clips         what the clips of a store are, by a label file
    windows       examples out of a store
    epochs        which examples an epoch has, in which order
    augment       changes to examples, and mixtures
    batches       all of these, for Keras
    models        networks
    objective     what training minimises, and how
    state         where a training stands
    run           the run folder
    submission    Kaggle's CSV
    synthetic     the demo corpus
    download      FSDKaggle2018 from Zenodo
    extraction    clips to store
    prediction    scores of clips
    origin        where a run comes from
    experiment    a training that is planned
    events        scalars for TensorBoard
    signals       Ctrl-C and SIGTERM as a wish to end in order
    training      the network of an experiment learns
    folds         a run a fold
    tuning        a search for hyperparameters
    plot          the history of a run as a picture
    evaluation    scores against labels
    relabelling   corrected labels for unverified clips
    program       what all commands have in common
    commands      the commands: data, features, training, scoring, inspection
    cli           the command line
"""
