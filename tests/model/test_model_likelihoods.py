"""Each likelihood is normalised, means what it draws, and has finite gradients wherever the decoder may go."""

import copy
import math

import numpy as np
import pytest
import torch
from scipy import stats

from zatlas.errors import UsageError
from zatlas.model.likelihoods import LIKELIHOODS, Greys, StudentT
from zatlas.model.objective import effective_beta

ONE = torch.ones(1, 1, 1, 1)
WHOLE = ("discretised_logistic", "poisson")
# Decoder numbers for one pixel of one channel: usual ones and extreme ones.
PARAMS = {
    "continuous_bernoulli": [(-300.0,), (-3.0,), (-0.61,), (-0.59,), (-1e-4,), (0.0,), (0.3,), (2.0,), (40.0,)],
    "gaussian": [(0.0,), (0.7,), (-40.0,)],
    "gaussian_per_channel": [(0.2,)],
    "gaussian_per_pixel": [(0.4, -30.0), (0.4, 0.0), (0.1, 1.0), (0.5, 30.0)],
    "student_t": [(0.0,), (0.4,)],
    "discretised_logistic": [(0.5, 0.0), (0.3, -30.0), (0.0, 0.5), (-2.0, 0.3), (5.0, -1.0), (0.6, 30.0)],
    "poisson": [(0.5,), (0.0,), (-3.0,), (0.02,), (3.0,)],
}
CASES = [(name, values) for name, all_values in PARAMS.items() for values in all_values]


def made(name):
    """A likelihood as training leaves it: some noise, and a grey scale that does not begin at 0."""
    one = LIKELIHOODS[name]()
    one.set_greys(Greys(channels=1, offset=3.0, factor=200.0, lowest=3.0, highest=203.0, are_whole=True))
    if name in ("gaussian", "gaussian_per_channel", "student_t"):
        one.log_noise_var.fill_(math.log(0.02))
    return one


def nats(one, values, x):
    """Nats of greys x, each an image of one pixel."""
    params = torch.tensor(values).reshape(1, -1, 1, 1).expand(len(x), -1, 1, 1)
    return one.nll(params, torch.as_tensor(x, dtype=torch.float32).reshape(-1, 1, 1, 1), ONE.expand(len(x), 1, 1, 1))


def test_all_likelihoods_but_the_cross_entropy_are_tried_here():
    assert {*PARAMS, "bernoulli"} == set(LIKELIHOODS)


@pytest.mark.parametrize(("name", "values"), CASES)
def test_densities_integrate_to_one_and_shares_sum_to_one(name, values):
    one = made(name)
    params = torch.tensor(values).reshape(1, -1, 1, 1)
    if name in WHOLE:
        last = 203 if name == "discretised_logistic" else 2000
        n = np.arange(3 if name == "discretised_logistic" else 0, last + 1)
        total = float(torch.exp(-nats(one, values, (n - 3) / 200).double()).sum())
        assert total == pytest.approx(1, abs=2e-4)
        return
    if name == "continuous_bernoulli":
        edges = np.unique(np.r_[0, np.geomspace(1e-6, 0.5, 4000), 1 - np.geomspace(1e-6, 0.5, 4000), 1])
    else:
        centre, spread = float(one.mean(params)), math.sqrt(float(one.implied_variance(params)))
        half = spread * np.r_[0, np.geomspace(1e-3, 2e3, 8000)]
        edges = centre + np.r_[-half[:0:-1], half]
    density = np.exp(-nats(one, values, np.float32(edges)).double().numpy())
    assert np.trapezoid(density, np.float32(edges).astype(float)) == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize(("name", "values"), CASES)
def test_draws_have_the_mean_and_the_variance_that_are_claimed(name, values):
    one, n = made(name), 40_000
    params = torch.tensor(values).reshape(1, -1, 1, 1)
    drawn = one.sample(params.expand(n, -1, 1, 1), torch.Generator().manual_seed(0)).double().flatten()
    mean, variance = float(one.mean(params)), float(one.implied_variance(params))
    step = 1 / 200 if name in WHOLE else 0.0
    error = 5 * math.sqrt(float(drawn.var()) / n) + step / 10 + 1e-6
    assert float(drawn.mean()) == pytest.approx(mean, abs=error)
    assert float(drawn.var()) == pytest.approx(variance, rel=0.08, abs=step**2 / 10 + 1e-9)


@pytest.mark.parametrize("name", sorted(LIKELIHOODS))
def test_gradients_are_finite_wherever_the_decoder_goes(name):
    one = made(name)
    grid = torch.tensor([-1e4, -80.0, -0.6, -1e-5, 0.0, 1e-5, 0.3, 1.0, 80.0, 1e4])
    pairs = torch.cartesian_prod(*[grid] * one.n_params).reshape(-1, one.n_params, 1, 1)
    for grey in (0.0, 0.005, 0.5, 1.0):
        params = pairs.clone().requires_grad_()
        found = one.nll(params, torch.full((len(pairs), 1, 1, 1), grey), ONE.expand(len(pairs), 1, 1, 1))
        (gradient,) = torch.autograd.grad(found.sum(), params)
        assert torch.isfinite(found).all()
        assert torch.isfinite(gradient).all()
    assert torch.isfinite(one.mean(pairs)).all()
    variance = one.implied_variance(pairs)
    assert torch.isfinite(variance).all() and (variance >= 0).all()


@pytest.mark.parametrize("name", sorted(set(LIKELIHOODS) - {"bernoulli"}))
def test_effective_beta_is_beta_for_images_that_a_likelihood_drew_itself(name):
    one = made(name)
    generator = torch.Generator().manual_seed(0)
    params = 0.3 + 0.4 * torch.rand((8, one.n_params, 64, 64), generator=generator)
    params[:, 1:] -= 0.5
    x = one.sample(params, generator)
    found = effective_beta(x, params, torch.ones_like(x[:, :1]), likelihood=one, beta=2.0)
    assert found == pytest.approx(2, rel=0.05)


def test_formulas_against_other_implementations():
    logits, x = torch.tensor([-7.0, -0.4, 0.001, 1.0, 9.0]), torch.tensor([0.1, 0.9, 0.5, 0.3, 0.99])
    other = torch.distributions.ContinuousBernoulli(logits=logits.double())
    one = made("continuous_bernoulli")
    shaped = logits.reshape(-1, 1, 1, 1)
    found = one.nll(shaped, x.reshape(-1, 1, 1, 1), ONE.expand(5, 1, 1, 1))
    np.testing.assert_allclose(found, -other.log_prob(x.double()), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(one.mean(shaped).flatten(), other.mean, rtol=1e-5)
    np.testing.assert_allclose(one.implied_variance(shaped).flatten(), other.variance, rtol=1e-4)
    student = made("student_t")
    student.log_df.fill_(math.log(3.0))
    grey = np.array([-1.0, 0.2, 0.4, 3.0])
    expected = -stats.t(3, loc=0.4, scale=math.sqrt(0.02)).logpdf(grey)
    np.testing.assert_allclose(nats(student, (0.4,), grey), expected, rtol=1e-5)
    poisson, n = made("poisson"), np.array([0, 4, 19, 20, 21, 22, 90, 200])
    rate = 200 * float(poisson.mean(torch.full((1, 1, 1, 1), 0.3))) + 3
    np.testing.assert_allclose(nats(poisson, (0.3,), (n - 3) / 200), -stats.poisson(rate).logpmf(n), rtol=2e-5)


def test_noise_around_a_mean_image_is_that_of_the_distributions_with_these_means():
    one, logits = made("continuous_bernoulli"), torch.tensor([[[[-6.0, 0.0, 3.0]]]])
    expected = 1 / float((1 / one.implied_variance(logits)).mean())
    assert one.noise_around(one.mean(logits).numpy()) == pytest.approx(expected, rel=1e-3)
    poisson, params = made("poisson"), torch.tensor([[[[0.2, 0.5]]]])
    expected = 1 / float((1 / poisson.implied_variance(params)).mean())
    assert poisson.noise_around(poisson.mean(params).numpy()) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("df", [3.0, 8.0, 100.0])
def test_student_t_finds_scale_and_shape_of_residuals(df):
    x = torch.from_numpy(stats.t(df, scale=0.05).rvs((4, 2, 64, 64), random_state=0)).float()
    mask = torch.ones_like(x[:, :1])
    mask[:2, :, 40:] = 0
    params, one = torch.zeros_like(x), StudentT()
    found = one.calibrate(tuple(total.double() for total in one.residuals(params, x, mask)))
    assert math.exp(0.5 * float(one.log_noise_var)) == pytest.approx(0.05, rel=0.06)
    found_df = math.exp(float(one.log_df))
    assert found_df > 39 if df == 100 else found_df == pytest.approx(df, rel=0.25)
    assert found == pytest.approx(float(one.nll(params, x, mask).sum()), abs=1e-3 * float(mask.sum()))
    for name, shift in (("log_noise_var", 0.2), ("log_noise_var", -0.2), ("log_df", 0.5), ("log_df", -0.3)):
        other = copy.deepcopy(one)
        other.get_buffer(name).add_(shift)
        if df < 50 or name != "log_df":
            assert float(other.nll(params, x, mask).sum()) > found
    running = StudentT()
    for step in range(3):
        running.observe(running.residuals(params, x, mask), step=step)
    torch.testing.assert_close(running.state_dict(), one.state_dict())


def test_each_channel_has_its_own_noise():
    generator = torch.Generator().manual_seed(0)
    scales = torch.tensor([0.05, 0.2, 1.0]).reshape(1, 3, 1, 1)
    params = torch.zeros(4, 3, 32, 32)
    x, mask = scales * torch.randn(params.shape, generator=generator), torch.ones(4, 1, 32, 32)
    one = LIKELIHOODS["gaussian_per_channel"]()
    one.set_greys(Greys(channels=3, offset=0.0, factor=1.0, lowest=0.0, highest=1.0, are_whole=False))
    one.observe(one.residuals(params, x, mask), step=0)
    assert torch.exp(0.5 * one.log_noise_var).tolist() == pytest.approx([0.05, 0.2, 1.0], rel=0.05)
    found = one.calibrate(tuple(total.double() for total in one.residuals(params, x, mask)))
    assert found == pytest.approx(float(one.nll(params, x, mask).sum()), rel=1e-5)
    fresh = LIKELIHOODS["gaussian_per_channel"]()
    fresh.load_state_dict(one.state_dict())
    assert torch.equal(fresh.nll(params, x, mask), one.nll(params, x, mask))


def test_images_that_do_not_fit_are_refused_in_a_sentence():
    floats = Greys(channels=1, offset=0.0, factor=1.0, lowest=0.0, highest=1.0, are_whole=False)
    negative = Greys(channels=1, offset=-4.0, factor=20.0, lowest=-4.0, highest=16.0, are_whole=True)
    for name in WHOLE:
        with pytest.raises(UsageError, match="is one of whole numbers, but the pixels of these images are stored as"):
            LIKELIHOODS[name]().set_greys(floats)
    with pytest.raises(UsageError, match="is one of counts, but pixels of these images may be -4"):
        LIKELIHOODS["poisson"]().set_greys(negative)
    LIKELIHOODS["discretised_logistic"]().set_greys(negative)
    LIKELIHOODS["gaussian"]().set_greys(floats)
