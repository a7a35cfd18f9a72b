"""DiAMoNDBack: residue-wise denoising diffusion from C-alpha traces (J. Chem. Theory Comput. 2023)."""
