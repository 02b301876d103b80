"""eosflow on a network of your own, without the workflow; its names are those of `eosflow`."""
