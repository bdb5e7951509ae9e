"""How :class:`~skae.PhotonCorrelationFit` fits: many histograms at a time, by maximum likelihood."""
