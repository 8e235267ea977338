"""What wdstools is measured against: ``commands`` are whole commands, ``peer_*.py`` loaders (see wdstools/peers)."""
